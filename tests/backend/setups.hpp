// The backend under test, `tested`, in all its setups, and the comparison of its operations with the reference. The
// setups are in setups/<backend>.hpp.
#pragma once

#include <string>

#include <strata/reference.hpp>

/// Which setups of a backend to run. of_most: those that differ for most operations. of_products: also those that
/// differ only for matrix products. of_bfloat16: those that round inputs of matrix products, in attention too.
enum class setups { of_most, of_products, of_bfloat16 };

#define STRATA_QUOTE_AGAIN(text) #text
#define STRATA_QUOTE(text) STRATA_QUOTE_AGAIN(text)
// clang-format off
#include STRATA_QUOTE(setups/STRATA_TEST_BACKEND.hpp)
// clang-format on

#include "support/catch.hpp"
#include "support/numbers.hpp"

/// Runs `body(bench)` on the reference in double, and twice on every setup of the tested backend. Results must be
/// within `tolerance` of the reference, and equal to the bit in both runs.
template <class Body>
void check_against_reference(double tolerance, Body body, setups which = setups::of_most) {
  strata::reference<double> exact;
  workbench expected(exact);
  body(expected);
  on_every_setup(which, [&](tested& backend, const std::string& setup) {
    INFO(setup);
    workbench first(backend), second(backend);
    body(first);
    body(second);
    REQUIRE(first.results.size() == expected.results.size());
    for (std::size_t n = 0; n < expected.results.size(); ++n) {
      const auto& [name, values] = expected.results[n];
      INFO(name);
      CHECK(relative_error(first.results[n].second, values) <= tolerance);
      CHECK(first.results[n].second == second.results[n].second);
    }
    CHECK(first.margins_intact());
  });
}

/// Runs `body(bench)` on every setup of the tested backend: for properties that need no reference.
template <class Body>
void on_every_bench(Body body, setups which = setups::of_most) {
  on_every_setup(which, [&](tested& backend, const std::string& setup) {
    INFO(setup);
    workbench bench(backend);
    body(bench);
    CHECK(bench.margins_intact());
  });
}
