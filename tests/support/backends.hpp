// The backends of the CPU, for tests of whole models.
#pragma once

#include <strata/cpu.hpp>
#include <strata/reference.hpp>

namespace models {

/// Calls test(backend) for the reference backend and for the cpu backend with both providers of matrix products.
template <class Test>
void on_every_backend(Test test) {
  strata::reference<float> plain;
  test(plain);
  for (const auto provider : {strata::matrix_products::own, strata::matrix_products::automatic})
    for (const int threads : {1, 2}) {
      strata::cpu fast({.threads = threads, .products = provider});
      test(fast);
    }
}

}  // namespace models
