// How the cpu backend is tested: with 1, 2 and 3 threads, with Eigen's products and with those that it chooses itself.
#pragma once

#include <list>
#include <string>

#include <strata/cpu.hpp>

using tested = strata::cpu;

/// Calls `action(backend, name)` for every setup. Backends are kept, so that a test meets memory that others have used.
template <class Action>
void on_every_setup(setups which, Action action) {
  static std::list<tested> backends;
  if (backends.empty())
    for (const auto products : {strata::product_provider::automatic, strata::product_provider::eigen})
      for (const int threads : {1, 2, 3}) backends.emplace_back(strata::cpu_options{threads, products});
  std::size_t left = which == setups::of_products ? backends.size() : backends.size() / 2;
  for (auto backend = backends.begin(); left > 0; ++backend, --left)
    action(*backend, std::to_string(backend->threads()) + " threads, " + (backend->onednn() ? "oneDNN" : "Eigen"));
}
