// How the cuda backend is tested: on a device as it is; on the CPU with the threads of a block in several orders.
#pragma once

#include <string>

#include <strata/cuda.hpp>

#if defined(STRATA_CUDA_ON_CPU)
#include "cuda_on_cpu/sanitizers.hpp"
#endif

using tested = strata::cuda;

/// Kept, so that a test meets used memory.
inline tested& kept_backend(bool of_bfloat16) {
  static tested in_float, in_bfloat16(strata::cuda_options{.precision = strata::cuda_precision::bfloat16});
  return of_bfloat16 ? in_bfloat16 : in_float;
}

/// Calls `action(backend, name)`; on the CPU once per order.
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
  if (cuda_on_cpu::sanitizers::address) return;  // it checks where threads read and write: one order is enough
  in_order(order::forward, 1, "forward");
  in_order(order::reverse, 1, "reverse");
  in_order(order::random, 2, "another random");
#else
  action(backend, std::string("a device"));
#endif
}
