// How the cuda backend is tested where kernels are executed on the CPU: with the threads of a block in several orders.
#pragma once

#include <string>

#include <strata/cuda.hpp>

using tested = strata::cuda;

/// Calls `action(backend, name)` for every order; for products, most of which are cuBLASLt's, for two. The backend is kept, so
/// that a test meets memory that others have used.
template <class Action>
void on_every_setup(setups which, Action action) {
  using cuda_on_cpu::order;
  static tested backend;
  const auto in_order = [&](order own, std::uint64_t seed, const char* name) {
    cuda_on_cpu::set_order(own, seed);
    action(backend, std::string("threads in ") + name + " order");
  };
  in_order(order::forward, 1, "forward");
  in_order(order::random, 1, "random");
  if (which == setups::of_products) return;
  in_order(order::reverse, 1, "reverse");
  in_order(order::random, 2, "another random");
}
