// Whole models on the cuda backend train and generate as on the cpu backend.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <strata/cuda.hpp>

#include "cuda/training.hpp"
#include "support/catch.hpp"

namespace device_models {
namespace {

using strata::weight_format;

double worst_relative_difference(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double worst = 0;
  for (std::size_t n = 0; n < got.size(); ++n) {
    const double difference = std::abs(got[n] - expected[n]) / std::max(1.0, std::abs(expected[n]));
    if (!(difference <= worst)) worst = difference;  // NaN is the worst
  }
  return worst;
}

template <class Model>
void check_against_cpu(index_type steps, weight_format format,
                       strata::optimizer_kind optimizer = strata::optimizer_kind::adamw) {
  strata::cuda device;
  const outcome expected = train_and_write_on_cpu<Model>(steps, format, optimizer);
  const outcome got = train_and_write<Model>(device, steps, format, optimizer);
  CHECK(worst_relative_difference(got.losses, expected.losses) < 1e-4);
  CHECK(worst_relative_difference(got.norms, expected.norms) < 1e-4);
  CHECK(got.written == expected.written);
}

}  // namespace

TEST_CASE("20 steps of training on the cuda backend are those of cpu") {
  check_against_cpu<many_things>(20, weight_format::float32);
}
TEST_CASE("models with every merge train and write as on cpu, with weights in every format") {
  check_against_cpu<attends_to_levels>(2, weight_format::float32);
  check_against_cpu<separable>(2, weight_format::bfloat16);
  check_against_cpu<shifts_levels>(2, weight_format::int8);
}

TEST_CASE("an hourglass trains and writes as on cpu, with Muon") {
  check_against_cpu<shortens>(4, weight_format::float32, strata::optimizer_kind::muon);
}

TEST_CASE("a model that decides its boundaries trains and writes as on cpu") {
  check_against_cpu<decides>(4, weight_format::float32);
}

TEST_CASE("on tensor cores a model learns what it learns in float, to rounding") {
  strata::cuda in_float;
  const outcome expected = train_and_write<without_tables>(in_float, 20, weight_format::float32);
  // tf32 cuts bits off, so every number becomes smaller; bfloat16 rounds to the nearest, with fewer bits.
  for (const auto& [precision, tolerance] :
       {std::pair{strata::cuda_precision::tf32, 5e-3}, std::pair{strata::cuda_precision::bfloat16, 2e-2}}) {
    strata::cuda rounding({.precision = precision});
    const outcome got = train_and_write<without_tables>(rounding, 20, weight_format::float32);
    CHECK((got.losses != expected.losses));  // a message with these numbers would not help
    CHECK(worst_relative_difference(got.losses, expected.losses) < tolerance);
  }
}

TEST_CASE("work that was recorded follows what its key, its memory and its shape become") {
  strata::cuda device;
  CHECK(worst_relative_difference(losses_between_changes(device), losses_between_changes_on_cpu()) < 1e-4);
}

}  // namespace device_models
