// rms_norm, layer_norm over token-shifted rows, and their gradients.
#include "backend/setups.hpp"

namespace strata {

namespace {

/// Calls `body(batch, length, dim, shift)`; some sizes use several threads.
template <class Body>
void for_norm_sizes(Body body) {
  for (const index_type length : {1, 2, 17, 50})
    for (const index_type dim : {5, 16, 20, 33})
      for (const int shift : {0, 1, 3}) body(1 + length % 3, length, dim, shift);
  for (const int shift : {0, 3}) body(index_type{3}, index_type{101}, index_type{67}, shift);
  body(index_type{0}, index_type{4}, index_type{5}, 0);
  body(index_type{1}, index_type{2200}, index_type{20}, 1);  // more rows than warps
  for (const index_type dim : {300, 600, 1101, 1200})
    body(index_type{1}, index_type{37}, dim, 1);  // the widest do not fit in registers
}

/// Gradients of gains and biases are sums over rows: more rows round more.
double norm_tolerance(index_type length) { return length > 1000 ? 4e-6 : 1e-6; }

/// token_shift(x), as docs/model.md defines it.
std::vector<double> token_shifted(const std::vector<double>& x, index_type batch, index_type length, index_type dim,
                                  index_type shift) {
  std::vector<double> y(x.size());
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i)
      for (index_type d = 0; d < dim; ++d) {
        const bool stays = shift == 0 || 2 * d < dim;  // the first ceil(dim / 2)
        const index_type from = stays ? i : i - shift;
        y[static_cast<std::size_t>((b * length + i) * dim + d)] =
            from < 0 ? 0 : x[static_cast<std::size_t>((b * length + from) * dim + d)];
      }
  return y;
}

}  // namespace

TEST_CASE("rms_norm equals the reference") {
  for_norm_sizes([](index_type batch, index_type length, index_type dim, int shift) {
    CAPTURE(batch, length, dim, shift);
    check_against_reference(norm_tolerance(length), [&](auto& bench) {
      const auto x = bench.normal({batch, length, dim}), y = bench.unset({batch, length, dim});
      const auto gain = bench.normal({dim}), factor = bench.unset({batch * length});
      rms_norm(bench.backend, x, gain, shift, y, factor);
      bench.result("y", y);
      bench.result("factor", factor);
      const auto dy = bench.normal({batch, length, dim}), dx = bench.normal({batch, length, dim});
      const auto dgain = bench.normal({dim});
      rms_norm_backward(bench.backend, x, gain, shift, factor, dy, dx, dgain);
      bench.result("dx", dx);
      bench.result("dgain", dgain);
    });
  });
}

TEST_CASE("layer_norm equals the reference") {
  for_norm_sizes([](index_type batch, index_type length, index_type dim, int shift) {
    CAPTURE(batch, length, dim, shift);
    check_against_reference(norm_tolerance(length), [&](auto& bench) {
      const auto x = bench.normal({batch, length, dim}), y = bench.unset({batch, length, dim});
      const auto gain = bench.normal({dim}), bias = bench.normal({dim});
      const auto factor = bench.unset({batch * length}), mean = bench.unset({batch * length});
      layer_norm(bench.backend, x, gain, bias, shift, y, factor, mean);
      bench.result("y", y);
      bench.result("factor", factor);
      bench.result("mean", mean);
      const auto dy = bench.normal({batch, length, dim}), dx = bench.normal({batch, length, dim});
      const auto dgain = bench.normal({dim}), dbias = bench.normal({dim});
      layer_norm_backward(bench.backend, x, gain, shift, factor, mean, dy, dx, dgain, dbias);
      bench.result("dx", dx);
      bench.result("dgain", dgain);
      bench.result("dbias", dbias);
    });
  });
}

TEST_CASE("norms: known values") {
  on_every_bench([](auto& bench) {
    const auto x = bench.of({3, 4, 0, 0}, {1, 2, 2});
    const auto gain = bench.of({1, 2}, {2}), bias = bench.of({5, 6}, {2});
    const auto y = bench.unset({1, 2, 2});
    const auto factor = bench.unset({2}), mean = bench.unset({2});
    rms_norm(bench.backend, x, gain, 0, y, factor);
    const double f = std::sqrt(2.0) / 5;
    CHECK(relative_error(bench.read(y), {3 * f, 8 * f, 0, 0}) < 1e-6);
    CHECK(bench.read(factor)[0] == Approx(f).epsilon(1e-6));
    layer_norm(bench.backend, x, gain, bias, 0, y, factor, mean);
    const double g = 1 / std::sqrt(0.25 + 1e-5);
    CHECK(relative_error(bench.read(y), {5 - 0.5 * g, 6 + g, 5, 6}) < 1e-6);
    CHECK(relative_error(bench.read(mean), {3.5, 0}) < 1e-6);
    CHECK(bench.read(factor)[0] == Approx(g).epsilon(1e-6));
  });
}

TEST_CASE("a norm sees token-shifted rows") {
  for (const index_type dim : {2, 7, 33})
    for (const int shift : {1, 3, 20})
      on_every_bench([&](auto& bench) {
        CAPTURE(dim, shift);
        const index_type batch = 2, length = 17;
        const auto x = bench.normal({batch, length, dim});
        const auto shifted = bench.of(token_shifted(bench.read(x), batch, length, dim, shift), {batch, length, dim});
        const auto y = bench.unset({batch, length, dim}), expected = bench.unset({batch, length, dim});
        const auto gain = bench.normal({dim}), bias = bench.normal({dim});
        const auto factor = bench.unset({batch * length}), mean = bench.unset({batch * length});
        rms_norm(bench.backend, x, gain, shift, y, factor);
        rms_norm(bench.backend, shifted, gain, 0, expected, factor);
        CHECK(relative_error(bench.read(y), bench.read(expected)) < 1e-6);
        layer_norm(bench.backend, x, gain, bias, shift, y, factor, mean);
        layer_norm(bench.backend, shifted, gain, bias, 0, expected, factor, mean);
        CHECK(relative_error(bench.read(y), bench.read(expected)) < 1e-6);
      });
}

TEST_CASE("a norm gives the same bits wherever its rows lie") {
  const index_type length = 9, dim = 24;
  on_every_bench([&](auto& bench) {
    const std::vector<double> values = bench.read(bench.normal({length * dim}));
    const auto gain = bench.normal({dim});
    std::vector<std::vector<double>> results;
    for (const index_type offset : {0, 1}) {
      std::vector<double> moved(static_cast<std::size_t>(offset));
      moved.insert(moved.end(), values.begin(), values.end());
      auto x = bench.of(moved, {1, 1, length * dim + offset});
      x.data += offset;
      x.shape = {1, length, dim};
      const auto y = bench.unset({1, length, dim}), factor = bench.unset({1, 1, length});
      const auto dx = bench.all(0, {1, length, dim}), dgain = bench.all(0, {1, 1, dim});
      rms_norm(bench.backend, x, gain, 1, y, factor.flat());
      rms_norm_backward(bench.backend, x, gain, 1, factor.flat(), x, dx, dgain.flat());
      for (const auto& each : {y, factor, dx, dgain}) results.push_back(bench.read(each));
    }
    for (std::size_t n = 0; n < 4; ++n) CHECK(results[n] == results[n + 4]);
  });
}

TEST_CASE("gradients of norms add to what is there") {
  on_every_bench([](auto& bench) {
    const index_type batch = 2, length = 9, dim = 7;
    const auto x = bench.normal({batch, length, dim}), dy = bench.normal({batch, length, dim});
    const auto y = bench.unset({batch, length, dim});
    const auto gain = bench.normal({dim}), bias = bench.normal({dim});
    const auto factor = bench.unset({batch * length}), mean = bench.unset({batch * length});
    const auto dx = bench.all(0, {batch, length, dim});
    const auto dgain = bench.all(0, {dim}), dbias = bench.all(0, {dim});
    const auto doubles = [&](auto backward) {
      for (const auto& each : {dx.flat(), dgain, dbias}) fill(bench.backend, 0.f, each);
      backward();
      auto once = bench.read(dx);
      const auto gain_once = bench.read(dgain), bias_once = bench.read(dbias);
      backward();
      for (double& value : once) value *= 2;
      CHECK(relative_error(bench.read(dx), once) < 1e-6);
      for (index_type d = 0; d < dim; ++d) {
        const auto n = static_cast<std::size_t>(d);
        CHECK(bench.read(dgain)[n] == Approx(2 * gain_once[n]).epsilon(1e-5).margin(1e-5));
        CHECK(bench.read(dbias)[n] == Approx(2 * bias_once[n]).epsilon(1e-5).margin(1e-5));
      }
    };
    rms_norm(bench.backend, x, gain, 1, y, factor);
    doubles([&] { rms_norm_backward(bench.backend, x, gain, 1, factor, dy, dx, dgain); });
    layer_norm(bench.backend, x, gain, bias, 1, y, factor, mean);
    doubles([&] { layer_norm_backward(bench.backend, x, gain, 1, factor, mean, dy, dx, dgain, dbias); });
  });
}

}  // namespace strata
