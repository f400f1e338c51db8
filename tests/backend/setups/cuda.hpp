// How the cuda backend is tested: on a device as it is, and where kernels are executed on the CPU with the threads of a block in
// several orders.
#pragma once

#include <string>

#include <strata/cuda.hpp>

#if defined(STRATA_CUDA_ON_CPU)
#include "cuda_on_cpu/sanitizers.hpp"
#endif

using tested = strata::cuda;

/// Kept, so that a test meets memory that others have used.
inline tested& kept_backend(bool of_bfloat16) {
  static tested in_float, in_bfloat16(strata::cuda_options{.precision = strata::cuda_precision::bfloat16});
  return of_bfloat16 ? in_bfloat16 : in_float;
}

/// Calls `action(backend, name)`; on the CPU for every order.
template <class Action>
void on_every_setup(setups which, Action action) {
  tested& backend = kept_backend(which == setups::of_bfloat16);
#if defined(STRATA_CUDA_ON_CPU)
  using cuda_on_cpu::order;
  const auto in_order = [&](order own, std::uint64_t seed, const char* name) {
    cuda_on_cpu::set_order(own, seed);
    action(backend, std::string("threads in ") + name + " order");
  };
  in_order(order::random, 1, "random");
  if (cuda_on_cpu::sanitizers::address) return;  // which looks at where threads read and write, in whatever order
  in_order(order::forward, 1, "forward");
  in_order(order::reverse, 1, "reverse");
  in_order(order::random, 2, "another random");
#else
  action(backend, std::string("a device"));
#endif
}
