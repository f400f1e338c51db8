// gelu, silu and their gradients.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("activations equal the reference") {
  for (const index_type size : {1, 7, 1000, 40003})
    for (const double scale : {0.1, 1.0, 10.0}) {
      CAPTURE(size, scale);
      // Few numbers are compared, and one of them may lie near a zero of the derivative.
      check_against_reference(2e-6, [&](auto& bench) {
        const auto x = bench.normal({size}, scale), dy = bench.normal({size});
        const auto y = bench.unset({size});
        gelu(bench.backend, x, y);
        bench.result("gelu", y);
        silu(bench.backend, x, y);
        bench.result("silu", y);
        gelu_backward(bench.backend, x, dy, y);
        bench.result("gelu_backward", y);
        silu_backward(bench.backend, x, dy, y);
        bench.result("silu_backward", y);
      });
    }
}

TEST_CASE("a gradient of an activation may replace what it came from") {
  check_against_reference(1e-6, [&](auto& bench) {
    const auto x = bench.normal({5003}), dy = bench.normal({5003}), in_place = bench.unset({5003});
    copy(bench.backend, dy, in_place);
    gelu_backward(bench.backend, x, in_place, in_place);
    bench.result("gelu_backward", in_place);
    copy(bench.backend, dy, in_place);
    silu_backward(bench.backend, x, in_place, in_place);
    bench.result("silu_backward", in_place);
  });
}

TEST_CASE("activations: known values") {
  on_every_bench([](auto& bench) {
    const auto x = bench.of({0, 1, -2, 30, -30, 1000, -1000}, {7}), dy = bench.all(2, {7}), y = bench.unset({7});
    gelu(bench.backend, x, y);
    CHECK(relative_error(bench.read(y), {0, 0.841344746, -0.045500264, 30, 0, 1000, 0}) < 1e-7);
    CHECK(bench.read(y)[2] == Approx(-0.045500264).epsilon(1e-5));
    silu(bench.backend, x, y);
    CHECK(relative_error(bench.read(y), {0, 0.731058579, -0.238405844, 30, 0, 1000, 0}) < 1e-7);
    CHECK(bench.read(y)[2] == Approx(-0.238405844).epsilon(1e-6));
    gelu_backward(bench.backend, x, dy, y);
    CHECK(relative_error(bench.read(y), {1, 2 * 1.083315471, 2 * -0.085231801, 2, 0, 2, 0}) < 1e-6);
    silu_backward(bench.backend, x, dy, y);
    CHECK(relative_error(bench.read(y), {1, 2 * 0.927670512, 2 * -0.090784247, 2, 0, 2, 0}) < 1e-6);
  });
}

}  // namespace strata
