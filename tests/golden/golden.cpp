// Every golden file against the reference and the cpu backend.
#include <strata/cpu.hpp>
#include <strata/reference.hpp>

#include "golden/check.hpp"

TEMPLATE_TEST_CASE("golden on the reference backend", "", STRATA_GOLDEN_CASES) {
  strata::reference<double> in_double;
  golden::check<TestType>(in_double);
  strata::reference<float> in_float;
  golden::check<TestType>(in_float);
}

TEMPLATE_TEST_CASE("golden on the cpu backend", "", STRATA_GOLDEN_CASES) {
  for (const auto provider : {strata::matrix_products::own, strata::matrix_products::automatic})
    for (const int threads : {1, 2}) {
      strata::cpu backend({.threads = threads, .products = provider});
      golden::check<TestType>(backend);
    }
}
