// What every kernel of the cuda backend uses on a device, compared with its budget, and how many of its blocks a
// multiprocessor holds.
#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cuda_occupancy.h>
#include <iomanip>
#include <sstream>

#include "cuda/launches.hpp"
#include "cuda/page.hpp"

namespace kernels {
namespace {

/// A multiprocessor. Source: CUDA C++ Programming Guide, "Compute Capabilities"; all have 65,536 registers and 64 warps.
struct device {
  const char *name, *architecture;  // as the compiler names it
  int major;
  std::size_t shared_bytes, shared_bytes_a_block;  // in all, and at most for one block
};
constexpr std::size_t KiB = 1024;
constexpr std::array<device, 3> devices{{{"A100", "sm_80", 8, 164 * KiB, 163 * KiB},
                                         {"H100", "sm_90", 9, 228 * KiB, 227 * KiB},
                                         {"B200", "sm_100", 10, 228 * KiB, 227 * KiB}}};

/// What a kernel uses, or may use.
struct resources {
  std::array<int, devices.size()> registers{};  // a thread, on each device
  // The most on any device. Stack bytes are for a thread, the others for a block.
  unsigned long long static_bytes = 0, dynamic_bytes = 0, stack_bytes = 0;
  unsigned threads = 0;
};
using table = std::map<std::string, resources>;

/// The number before `words` in a line of the compiler, or 0.
unsigned long long number_before(const std::string& line, const std::string& words) {
  const std::size_t end = line.find(' ' + words);
  if (end == std::string::npos) return 0;
  const std::size_t before = line.find_last_not_of("0123456789", end - 1);
  return std::stoull(line.substr(before + 1, end - before - 1));
}
/// The text between the first and second quotation marks, or between the third and fourth.
std::string quoted(const std::string& line, int which) {
  std::size_t begin = line.find('\'');
  for (int n = 0; n < 2 * which; ++n) begin = line.find('\'', begin + 1);
  return line.substr(begin + 1, line.find('\'', begin + 1) - begin - 1);
}

/// Our kernels in the output of `ptxas -v`, and how they are launched. Complains of spilled registers.
table measured(const std::string& log, std::vector<std::string>& complaints) {
  table found;
  std::string name;
  std::size_t on = 0;
  for (const std::string& line : lines_of(log)) {
    if (line.find("Compiling entry function '") != std::string::npos) {
      name = readable_name(quoted(line, 0).c_str());
      const std::string architecture = quoted(line, 1);
      for (on = 0; on < devices.size() && architecture != devices[on].architecture;) ++on;
      strata::require(on < devices.size(), log, ": tests/cuda/kernels.cpp knows no device of ", architecture);
    }
    if (name.empty()) continue;
    resources& own = found[name];
    if (line.find("bytes stack frame") != std::string::npos) {
      own.stack_bytes = std::max(own.stack_bytes, number_before(line, "bytes stack frame"));
      if (own.stack_bytes > 0)
        complaints.push_back(strata::to_text(name, " keeps ", own.stack_bytes, " bytes a thread in memory on ",
                                             devices[on].architecture));
      const auto spilled = number_before(line, "bytes spill stores") + number_before(line, "bytes spill loads");
      if (spilled > 0)
        complaints.push_back(strata::to_text(name, " spills registers on ", devices[on].architecture, ": ", spilled,
                                             " bytes of stores and loads; no kernel may"));
    }
    if (line.find(": Used ") != std::string::npos) {
      own.registers[on] = static_cast<int>(number_before(line, "registers"));
      own.static_bytes = std::max(own.static_bytes, number_before(line, "bytes smem"));
      name.clear();
    }
  }
  strata::require(!found.empty(), log, " names no kernel");
  const auto launches = launches_of_all_kernels();
  for (auto& [kernel, own] : found) {
    const auto launch = launches.find(kernel);
    if (launch == launches.end()) {
      complaints.push_back(kernel + " is compiled, but tests/cuda/launches.cpp never launches it");
      continue;
    }
    own.threads = launch->second.threads;
    own.dynamic_bytes = launch->second.bytes;
    for (std::size_t d = 0; d < devices.size(); ++d)
      if (own.registers[d] == 0) complaints.push_back(kernel + " is not compiled for " + devices[d].architecture);
  }
  return found;
}

/// Another compiler uses other numbers of registers.
const std::string compiler = "# By nvcc " STRATA_CUDA_COMPILER_VERSION;
constexpr std::string_view heading[] = {
    "# What each kernel may take; to write it again: cmake --build --preset cpu-release --target cuda_kernel_tables",
    "# Registers a thread, in the eights that they are given in, 255 at most; bytes of shared memory a block; bytes of "
    "stack a thread."};

void write_budget(const std::string& path, const table& all) {
  std::vector<std::string> lines(std::begin(heading), std::end(heading));
  lines.push_back(compiler);
  lines.emplace_back("# sm_80 sm_90 sm_100 static dynamic  stack  threads  kernel");
  for (const auto& [kernel, own] : all) {
    std::ostringstream line;
    line << "  ";
    for (const int count : own.registers) line << std::setw(6) << std::min(255, (count + 7) / 8 * 8);
    line << std::setw(8) << own.static_bytes << std::setw(8) << own.dynamic_bytes << std::setw(7) << own.stack_bytes
         << std::setw(9) << own.threads << "  " << kernel;
    lines.push_back(line.str());
  }
  write_lines(path, lines);
}
table read_budget(const std::string& path) {
  table all;
  for (const std::string& text : lines_of(path)) {
    if (text.empty() || text.starts_with('#')) continue;
    std::istringstream line(text);
    resources own;
    for (int& count : own.registers) line >> count;
    std::string kernel;
    line >> own.static_bytes >> own.dynamic_bytes >> own.stack_bytes >> own.threads;
    std::getline(line >> std::ws, kernel);
    strata::require(!line.fail() && !kernel.empty(), path, ": '", text, "' is no seven numbers and a kernel");
    strata::require(all.emplace(kernel, own).second, path, " has two lines for ", kernel);
  }
  return all;
}

void compare(const table& found, const table& budgets, const std::string& path, std::vector<std::string>& complaints) {
  const auto lines = lines_of(path);
  const bool same_compiler = std::find(lines.begin(), lines.end(), compiler) != lines.end();
  if (!same_compiler)
    std::printf("%s has budgets of another compiler than nvcc %s: registers and stacks are not compared\n",
                path.c_str(), STRATA_CUDA_COMPILER_VERSION);
  for (const auto& [kernel, own] : found) {
    const auto place = budgets.find(kernel);
    if (place == budgets.end()) {
      complaints.push_back(kernel + " has no line in " + path);
      continue;
    }
    const resources& budget = place->second;
    const auto limit = [&, name = std::string_view(kernel)](const auto& takes, const auto& may, const char* what) {
      if (takes > may)
        complaints.push_back(strata::to_text(name, " takes ", takes, " ", what, ", more than its budget of ", may));
    };
    for (std::size_t d = 0; d < devices.size() && same_compiler; ++d)
      limit(own.registers[d], budget.registers[d], (std::string("registers on ") + devices[d].architecture).c_str());
    limit(own.static_bytes, budget.static_bytes, "bytes of static shared memory");
    limit(own.dynamic_bytes, budget.dynamic_bytes, "bytes of dynamic shared memory");
    if (same_compiler) limit(own.stack_bytes, budget.stack_bytes, "bytes of stack");
    limit(own.threads, budget.threads, "threads a block");
  }
  for (const auto& [kernel, budget] : budgets)
    if (!found.contains(kernel)) complaints.push_back(path + " has a line for " + kernel + ", which is no kernel now");
}

/// Blocks of a kernel that one multiprocessor holds at a time.
int resident_blocks(const device& on, int registers, const resources& own) {
  cudaOccDeviceProp properties;
  properties.computeMajor = on.major;
  properties.maxThreadsPerBlock = 1024;
  properties.maxThreadsPerMultiprocessor = 2048;
  properties.regsPerBlock = properties.regsPerMultiprocessor = 65536;
  properties.warpSize = 32;
  properties.sharedMemPerBlock = 48 * KiB;
  properties.sharedMemPerMultiprocessor = on.shared_bytes;
  properties.numSms = 1;
  properties.sharedMemPerBlockOptin = on.shared_bytes_a_block;
  properties.reservedSharedMemPerBlock = KiB;
  cudaOccFuncAttributes function;
  function.maxThreadsPerBlock = INT_MAX;
  function.numRegs = registers;
  function.sharedSizeBytes = own.static_bytes;
  function.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  function.maxDynamicSharedSizeBytes = own.dynamic_bytes;
  function.numBlockBarriers = 1;
  const cudaOccDeviceState state;
  cudaOccResult result;
  const cudaOccError error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &properties, &function, &state,
                                                                     static_cast<int>(own.threads), own.dynamic_bytes);
  strata::require(error == CUDA_OCC_SUCCESS, "cuda_occupancy.h cannot say how a kernel with ", registers,
                  " registers, ", own.threads, " threads and ", own.static_bytes, " + ", own.dynamic_bytes,
                  " bytes of shared memory fits on ", on.name, ": error ", static_cast<int>(error));
  return result.activeBlocksPerMultiprocessor;
}

std::vector<std::string> occupancy_table(const table& all) {
  std::string first = "| kernel | threads | registers | shared bytes |", second = "|---|---|---|---|";
  for (const device& on : devices) first += std::string(" ") + on.name + " |", second += "---|";
  std::vector<std::string> lines{first, second};
  for (const auto& [kernel, own] : all) {
    std::ostringstream line;
    line << "| `" << kernel << "` | " << own.threads << " | " << own.registers[0] << ", " << own.registers[1] << ", "
         << own.registers[2] << " | " << own.static_bytes + own.dynamic_bytes << " |";
    for (std::size_t d = 0; d < devices.size(); ++d) {
      const int blocks = resident_blocks(devices[d], own.registers[d], own);
      const unsigned warps = static_cast<unsigned>(blocks) * ((own.threads + 31) / 32);
      line << " " << blocks << ": " << warps * 100 / 64 << "% |";
    }
    lines.push_back(line.str());
  }
  return lines;
}

int run(const std::string& what, const std::string& log, const std::string& budget, const std::string& page) {
  const bool write = what == "write";
  std::vector<std::string> complaints;
  const table found = measured(log, complaints);
  if (write) write_budget(budget, found);
  const table budgets = read_budget(budget);
  compare(found, budgets, budget, complaints);
  for (const std::string& complaint : complaints) std::fprintf(stderr, "%s\n", complaint.c_str());
  if (!complaints.empty()) return 1;
  keep_table(page, occupancy_table(budgets), write);
  std::printf("%zu kernels keep to their budgets\n", found.size());
  return 0;
}

}  // namespace
}  // namespace kernels

int main(int count, char** arguments) {
  const std::string what = count == 5 || count == 2 ? arguments[1] : "";
  if (!(count == 5 && (what == "check" || what == "write")) && !(count == 2 && what == "execute")) {
    std::fprintf(stderr,
                 "usage: cuda_kernels check|write <what ptxas -v said> <budget> <page>\n"
                 "       cuda_kernels execute  (all kernels, for a sanitizer)\n");
    return 2;
  }
  try {
    if (what == "execute") {
      std::printf("%zu kernels were executed\n", kernels::launches_of_all_kernels().size());
      return 0;
    }
    return kernels::run(what, arguments[2], arguments[3], arguments[4]);
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}
