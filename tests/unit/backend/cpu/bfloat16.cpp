// Matrix products in bfloat16: emulated on every processor, computed by processors that can.
#include <array>
#include <cmath>
#include <vector>

#include <strata/cpu.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using strata::cpu, strata::cpu_options, strata::product_precision, strata::matrix_products, strata::update;

namespace {

/// The emulated backends, and the processor's own where it has such products.
template <class Body>
void on_every_bfloat16(Body body) {
  for (const auto precision : {product_precision::bfloat16_emulated, product_precision::bfloat16})
    for (const auto products : {matrix_products::automatic, matrix_products::own})
      for (const int threads : {1, 2}) {
        cpu backend({.threads = threads, .products = products, .precision = precision});
        if (backend.precision() != precision) continue;
        CAPTURE(threads, static_cast<int>(precision), static_cast<int>(products));
        body(backend);
      }
}

/// Numbers with 8 significant bits, which bfloat16 holds exactly.
std::vector<float> short_numbers(strata::index_type count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t n = 0; n < values.size(); ++n)
    values[n] = std::ldexp(static_cast<float>(static_cast<int>(n * 7919 % 511) - 255), static_cast<int>(n % 5) - 8);
  return values;
}

strata::view<float, 2> matrix(std::vector<float>& values, strata::index_type rows, strata::index_type columns) {
  return {values.data(), {rows, columns}};
}

/// y, dx and dweight in one vector, of inputs that rounding does not change.
std::vector<double> all_products(cpu& backend, strata::index_type rows, strata::index_type in, strata::index_type out) {
  auto x = short_numbers(rows * in), weight = short_numbers(out * in), bias = short_numbers(out);
  auto dy = short_numbers(rows * out), y = short_numbers(rows * out), dx = short_numbers(rows * in);
  auto dweight = short_numbers(out * in), dbias = short_numbers(out);
  linear(backend, matrix(x, rows, in), matrix(weight, out, in), {bias.data(), {out}}, matrix(y, rows, out),
         update::add);
  linear_backward_input(backend, matrix(dy, rows, out), matrix(weight, out, in), matrix(dx, rows, in), update::replace);
  linear_backward_weight(backend, matrix(dy, rows, out), matrix(x, rows, in), matrix(dweight, out, in),
                         {dbias.data(), {out}});
  std::vector<double> all;
  for (const auto* part : {&y, &dx, &dweight, &dbias}) all.insert(all.end(), part->begin(), part->end());
  return all;
}

}  // namespace

TEST_CASE("bfloat16: products of numbers that it holds are those of float") {
  for (const auto& [rows, in, out] : std::vector<std::array<strata::index_type, 3>>{
           {5, 1, 1}, {6, 10, 33}, {70, 67, 130}, {300, 131, 5}, {64, 128, 256}})
    on_every_bfloat16([&, rows = rows, in = in, out = out](cpu& backend) {
      CAPTURE(rows, in, out);
      cpu exact({.threads = 1});
      CHECK(relative_error(all_products(backend, rows, in, out), all_products(exact, rows, in, out)) < 1e-6);
    });
}

TEST_CASE("bfloat16: both inputs are rounded to the nearest number, ties to the even one") {
  const float step = std::ldexp(1.f, -7);  // from 1 to the next number
  const std::vector<std::pair<float, float>> cases{{1 + 0.49f * step, 1},
                                                   {1 + 0.5f * step, 1},
                                                   {1 + 0.51f * step, 1 + step},
                                                   {1 + 1.5f * step, 1 + 2 * step},
                                                   {-1 - 0.51f * step, -1 - step},
                                                   {3e-39f, std::ldexp(std::round(std::ldexp(3e-39f, 133)), -133)},
                                                   {INFINITY, INFINITY}};
  on_every_bfloat16([&](cpu& backend) {
    for (const auto& [given, rounded] : cases) {
      if (backend.precision() == product_precision::bfloat16 && given < 1e-30f && given > 0)
        continue;  // may be flushed to 0
      std::vector<float> x(5, given), one{1.f}, y(5);
      linear(backend, matrix(x, 5, 1), matrix(one, 1, 1), {}, matrix(y, 5, 1), update::replace);
      CHECK(y[4] == rounded);
      std::vector<float> ones(5, 1.f), weight{given};
      linear(backend, matrix(ones, 5, 1), matrix(weight, 1, 1), {}, matrix(y, 5, 1), update::replace);
      CHECK(y[4] == rounded);
    }
    std::vector<float> x(5, NAN), one{1.f}, y(5);
    linear(backend, matrix(x, 5, 1), matrix(one, 1, 1), {}, matrix(y, 5, 1), update::replace);
    CHECK(std::isnan(y[0]));
  });
}

TEST_CASE("bfloat16: sums are kept in float") {
  on_every_bfloat16([](cpu& backend) {
    std::vector<float> x(5 * 512, 1.f), weight(512, 1.f), y(5);
    weight[0] = 256.f;  // from here a sum in bfloat16 does not grow
    linear(backend, matrix(x, 5, 512), matrix(weight, 1, 512), {}, matrix(y, 5, 1), update::replace);
    CHECK(y[0] == 256.f + 511.f);
  });
}

TEST_CASE("bfloat16: what is not there is said, and computed in float") {
  const cpu without_onednn({.products = matrix_products::own, .precision = product_precision::bfloat16});
  CHECK(without_onednn.precision() == product_precision::float32);
  CHECK_THAT(without_onednn.message(), Catch::Matchers::ContainsSubstring("need oneDNN"));
  const cpu wanted({.precision = product_precision::bfloat16});
  CHECK(wanted.message().empty() == (wanted.precision() == product_precision::bfloat16));
  CHECK(cpu({.precision = product_precision::bfloat16_emulated}).message().empty());
  CHECK(cpu().message().empty());
}
