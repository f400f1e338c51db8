// dropout.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("dropout equals the reference: the same mask for every thread count and instruction set") {
  for (const index_type size : {1, 15, 64, 77, 1000, 40003})
    for (const double rate : {0.0, 0.1, 0.75, 0.999}) {
      CAPTURE(size, rate);
      const std::uint64_t high = std::uint64_t{5} << 32;
      check_against_reference(1e-7, [&](auto& bench) {  // one rounding
        const auto x = bench.normal({size}), y = bench.unset({size}), sum = bench.normal({size});
        dropout(bench.backend, {rate, 7 + high, 3 + high}, x, y, update::replace);
        bench.result("y", y);
        dropout(bench.backend, {rate, 7, 3}, x, sum, update::add);
        bench.result("sum", sum);
        dropout(bench.backend, {rate, 7, 4}, x, x, update::replace);
        bench.result("in place", x);
      });
    }
}

TEST_CASE("dropout keeps its share, whatever it keeps it scales, and nothing that is dropped is read") {
  on_every_bench([](auto& bench) {
    constexpr index_type size = 40003;
    const auto ones = bench.all(1, {size}), y = bench.unset({size});
    for (const double rate : {0.1, 0.5, 0.9}) {
      CAPTURE(rate);
      std::vector<std::vector<double>> masks;
      for (const auto& [seed, stream] : {std::pair<std::uint64_t, std::uint64_t>{1, 0}, {2, 0}, {1, 1}, {1, 0}}) {
        dropout(bench.backend, {rate, seed, stream}, ones, y, update::replace);
        masks.push_back(bench.read(y));
        double kept = 0, worst = 0;
        for (const double value : masks.back()) {
          kept += value != 0;
          worst = std::max(worst, value != 0 ? std::abs(value * (1 - rate) - 1) : 0);
        }
        CHECK(worst < 1e-6);
        // Four standard deviations of the binomial distribution.
        CHECK(kept == Approx(size * (1 - rate)).margin(4 * std::sqrt(size * rate * (1 - rate))));
      }
      // Masks of another seed or stream agree with the first only by chance; those of the same ones always agree.
      const double agreement = rate * rate + (1 - rate) * (1 - rate);
      for (const std::size_t other : {1u, 2u}) {
        double same = 0;
        for (std::size_t n = 0; n < masks[0].size(); ++n) same += (masks[0][n] != 0) == (masks[other][n] != 0);
        CHECK(same == Approx(size * agreement).margin(4 * std::sqrt(size * agreement * (1 - agreement))));
      }
      CHECK(masks[3] == masks[0]);
    }
    const auto nothing = bench.unset({size});
    dropout(bench.backend, {0.5, 1, 0}, nothing, y, update::replace);
    const auto values = bench.read(y);
    CHECK(std::count(values.begin(), values.end(), 0) == Approx(size / 2).margin(400));
  });
}

TEST_CASE("dropout: known values") {
  on_every_bench([](auto& bench) {
    // With seed 0 and stream 0, words 0 .. 3 of block 0 decide elements 0, 16, 32, 48. Philox's known answer is
    // 6627e8d5, e169c58d, bc57ac4c, 9b00dbd8.
    const auto x = bench.all(3, {64}), y = bench.unset({64});
    const auto kept = [&](double rate) {
      dropout(bench.backend, {rate, 0, 0}, x, y, update::replace);
      const auto values = bench.read(y);
      return std::vector<double>{values[0], values[16], values[32], values[48]};
    };
    CHECK(kept(0.5) == std::vector<double>{0, 6, 6, 6});
    CHECK(kept(0.75) == std::vector<double>{0, 12, 0, 0});
    CHECK(kept(0) == std::vector<double>(4, 3));
  });
}

}  // namespace strata
