// Executes every kernel on the CPU and notes how operations launch it.
#include "cuda/launches.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <memory>
#include <utility>
#include <vector>

#include <strata/backend/cuda/device.hpp>
#include <strata/core/error.hpp>

namespace kernels {
namespace {

std::map<std::string, launch_size> noted;

void note(const void* kernel, const dim3& threads, std::size_t bytes) {
  Dl_info symbol{};
  strata::require(dladdr(kernel, &symbol) != 0 && symbol.dli_sname != nullptr,
                  "a kernel has no name here: this program has to export its symbols");
  launch_size& most = noted[readable_name(symbol.dli_sname)];
  most.threads = std::max(most.threads, threads.x * threads.y * threads.z);
  most.bytes = std::max<unsigned long long>(most.bytes, bytes);
}

}  // namespace
}  // namespace kernels

namespace strata::inline STRATA_ABI::device {
template <class Kernel, class... Rest>
void note_and_start_kernel(Kernel* kernel, dim3 blocks, dim3 threads, std::size_t bytes, Rest&&... rest) {
  kernels::note(reinterpret_cast<const void*>(kernel), threads, bytes);
  start_kernel(kernel, blocks, threads, bytes, std::forward<Rest>(rest)...);
}
}  // namespace strata::device
// From here on, starting a kernel calls the function above.
#define start_kernel note_and_start_kernel

#include "cuda/every_kernel.hpp"

namespace kernels {

std::string readable_name(const char* mangled) {
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr),
                                                         &std::free);
  constexpr std::string_view result = "void ", ours = "strata::", device = "device::", nothing = "<void>";
  std::string name = text == nullptr ? "" : text.get();
  // The inline namespace is named after the compiler's flags.
  for (std::size_t at = 0; (at = name.find(ours, at)) != std::string::npos;) {
    at += ours.size();
    name.erase(at, name.find("::", at) + 2 - at);
  }
  if (!name.starts_with(std::string(result) + std::string(ours) + std::string(device))) return "";
  // The last closing bracket ends the parameters.
  std::size_t begin = name.rfind(')');
  for (int depth = 1; depth > 0 && begin > 0;) depth += name[--begin] == ')' ? 1 : name[begin] == '(' ? -1 : 0;
  name = name.substr(result.size(), begin - result.size());
  for (const std::string_view left_out : {ours, device, nothing})
    for (std::size_t at; (at = name.find(left_out)) != std::string::npos;) name.erase(at, left_out.size());
  for (std::size_t at; (at = name.find("> >")) != std::string::npos;) name.erase(at + 1, 1);
  return name;
}

std::map<std::string, launch_size> launches_of_all_kernels() {
  noted.clear();
  execute_every_kernel(1);
  return noted;
}

}  // namespace kernels
