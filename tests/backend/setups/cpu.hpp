// How the cpu backend is tested: with 1, 2 and 3 threads, with our own matrix products and with its default ones, and
// with every instruction set of this build and this processor.
#pragma once

#include <list>
#include <string>

#include <strata/cpu.hpp>

using tested = strata::cpu;

/// Calls `action(backend, name)` for every setup. Backends are kept, so that a test meets used memory.
template <class Action>
void on_every_setup(setups which, Action action) {
  using strata::instruction_set, strata::matrix_products;
  if (which == setups::of_bfloat16) return;  // matrix products only: tests/unit/backend/cpu/bfloat16.cpp
  static std::list<tested> backends;
  static std::size_t of_most = 0;
  if (backends.empty()) {
    for (const int threads : {1, 2, 3}) backends.emplace_back(strata::cpu_options{.threads = threads});
    for (const auto set : {instruction_set::baseline, instruction_set::avx2, instruction_set::avx512})
      if (strata::processor_has(set) && set != backends.front().instructions())
        backends.emplace_back(strata::cpu_options{.threads = 2, .instructions = set});
    of_most = backends.size();
    for (const int threads : {1, 2, 3})
      backends.emplace_back(strata::cpu_options{.threads = threads, .products = matrix_products::own});
  }
  std::size_t left = which == setups::of_products ? backends.size() : of_most;
  for (auto backend = backends.begin(); left > 0; ++backend, --left)
    action(*backend, std::to_string(backend->threads()) + " threads, " +
                         (backend->onednn() ? "oneDNN" : "own products") + ", instruction set " +
                         std::to_string(static_cast<int>(backend->instructions())));
}
