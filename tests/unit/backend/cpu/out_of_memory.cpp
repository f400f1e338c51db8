// Too little memory is an error of the library, wherever the cpu backend asks for some.
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include <strata/cpu.hpp>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/sanitizers.hpp"

#if !STRATA_TEST_SANITIZER  // their memory is larger than any limit
namespace {

using strata::index_type, strata::view;

/// Runs `work` where the process gets no more memory, then where it does; returns the first error.
template <class Work>
std::string without_more_memory(Work work) {
  rlimit limit{};
  getrlimit(RLIMIT_AS, &limit);
  const rlim_t outer = limit.rlim_cur;
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  limit.rlim_cur = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  if (setrlimit(RLIMIT_AS, &limit) != 0) return "no limit";
  std::string sentence = "none";
  try {
    work();
  } catch (const strata::error& problem) {
    sentence = problem.what();
  }
  limit.rlim_cur = outer;
  setrlimit(RLIMIT_AS, &limit);
  work();
  return sentence;
}

}  // namespace

TEST_CASE("out of memory: what the threads of an operation share") {
  CHECK_THAT(support::in_child([] {
               const index_type dim = 4 << 20;
               std::vector<float> x(dim, 1), y(dim), gain(dim, 1), dgain(dim), factor(1, 1);
               strata::cpu backend({.threads = 2});
               return without_more_memory([&] {
                 const view<float, 3> in{x.data(), {1, 1, dim}};
                 rms_norm_backward(backend, in, {gain.data(), {dim}}, 0, {factor.data(), {1}}, in,
                                   {y.data(), {1, 1, dim}}, {dgain.data(), {dim}});
               });
             }),
             Catch::Matchers::ContainsSubstring("memory"));
}
#endif
