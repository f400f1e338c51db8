// Every backend gives the losses and gradients of the reference in double.
#include <strata/cpu.hpp>
#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"
#include "support/numbers.hpp"

namespace {

/// Weights are drawn in double, so all backends start from the same weights, rounded.
template <class Model, class Backend>
struct outcome {
  std::vector<double> losses, gradient;
  explicit outcome(Backend& backend) {
    constexpr strata::index_type batch = 2, length = 45;
    const auto ids = models::random_ids(batch, length, models::facts<Model>::vocabulary, 4);
    models::training_model<Model, Backend> model(backend, 9);
    const auto report = model.accumulate_gradients({ids.data(), {batch, length}});
    for (std::size_t j = 0; j < report.values.count; ++j) losses.push_back(report.values[j]);
    for (const auto& entry : models::parameters<Model>::entries())
      for (const auto value : model.gradient_of(entry)) gradient.push_back(static_cast<double>(value));
  }
};

template <class Model, class Backend>
void check_outcome(Backend& backend) {
  strata::reference<double> exact;
  const outcome<Model, strata::reference<double>> expected(exact);
  const outcome<Model, Backend> got(backend);
  for (std::size_t j = 0; j < expected.losses.size(); ++j) {
    INFO(models::losses_of<Model>::names[j]);
    CHECK(got.losses[j] == Approx(expected.losses[j]).epsilon(1e-5));
  }
  CHECK(relative_error(got.gradient, expected.gradient) < 1e-4);
}

}  // namespace

TEMPLATE_TEST_CASE("the reference backend gives the same in float as in double", "", STRATA_MODELS) {
  strata::reference<float> backend;
  check_outcome<TestType>(backend);
}

TEMPLATE_TEST_CASE("the cpu backend gives what the reference gives", "", STRATA_MODELS) {
  for (const auto provider : {strata::matrix_products::own, strata::matrix_products::automatic}) {
    strata::cpu backend({.threads = 2, .products = provider});
    check_outcome<TestType>(backend);
  }
}
