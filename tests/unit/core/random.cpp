// Random numbers: the known answers of Philox, and the distributions.
#include <cmath>
#include <numbers>
#include <set>

#include <strata/core/random.hpp>

#include "support/catch.hpp"

using strata::philox;
using strata::random_source;
using words = std::array<std::uint32_t, 4>;

TEST_CASE("random: the known answers of Philox 4x32-10") {
  // kat_vectors of the Random123 library.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  STATIC_REQUIRE(philox({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5);
}

TEST_CASE("random: bits depend on every bit of seed, stream and counter") {
  const std::uint64_t high = std::uint64_t{1} << 40;
  std::set<std::uint64_t> seen;
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, high})
    for (const std::uint64_t stream : {std::uint64_t{0}, std::uint64_t{1}, high})
      for (const std::uint64_t counter : {std::uint64_t{0}, std::uint64_t{1}, high})
        seen.insert(random_source(seed).bits(stream, counter));
  CHECK(seen.size() == 27);
  CHECK(random_source(0).bits(0, 0) == 0xe169c58d6627e8d5);
  CHECK(random_source(5).bits(6, 7) == random_source(5).bits(6, 7));
}

TEST_CASE("random: uniform numbers lie strictly between 0 and 1, evenly") {
  const random_source random(3);
  constexpr int count = 100000;
  double sum = 0, squares = 0, least = 1, most = 0;
  int tenths[10] = {};
  for (std::uint64_t n = 0; n < count; ++n) {
    const double x = random.uniform(1, n);
    sum += x;
    squares += x * x;
    least = std::min(least, x);
    most = std::max(most, x);
    ++tenths[static_cast<int>(x * 10)];
  }
  CHECK(least > 0);
  CHECK(most < 1);
  CHECK(sum / count == Approx(0.5).margin(0.004));  // the deviation of the mean is 0.0009
  CHECK(squares / count == Approx(1.0 / 3).margin(0.004));
  for (const int tenth : tenths) CHECK(tenth == Approx(count / 10).margin(400));  // the deviation is 95
}

TEST_CASE("random: normal numbers have mean 0, variance 1 and the right tails") {
  const random_source random(4);
  constexpr int count = 100000;
  double sum = 0, squares = 0, neighbours = 0, before = 0;
  int beyond_one = 0, beyond_three = 0;
  for (std::uint64_t n = 0; n < count; ++n) {
    const double x = random.normal(2, n);
    REQUIRE(std::isfinite(x));
    sum += x;
    squares += x * x;
    neighbours += x * before;
    before = x;
    beyond_one += std::abs(x) > 1;
    beyond_three += std::abs(x) > 3;
  }
  CHECK(sum / count == Approx(0).margin(0.013));  // four deviations, here and below
  CHECK(squares / count == Approx(1).margin(0.018));
  CHECK(neighbours / count == Approx(0).margin(0.013));
  CHECK(beyond_one == Approx(0.3173 * count).margin(590));
  CHECK(beyond_three == Approx(0.0027 * count).margin(66));
}

TEST_CASE("random: a normal number is made of two uniform ones that no other uses") {
  const random_source random(4);  // Box and Muller
  for (const std::uint64_t n : {0u, 1u, 77u})
    CHECK(random.normal(2, n) == Approx(std::sqrt(-2 * std::log(random.uniform(2, 2 * n))) *
                                        std::cos(2 * std::numbers::pi * random.uniform(2, 2 * n + 1))));
}

TEST_CASE("random: Gumbel's distribution") {
  const random_source random(6);
  constexpr int count = 100000;
  int below[4] = {};
  for (std::uint64_t n = 0; n < count; ++n) {
    const double x = random.gumbel(2, n);
    REQUIRE(std::isfinite(x));
    for (int k = 0; k < 4; ++k) below[k] += x < k - 1;
  }
  for (int k = 0; k < 4; ++k) {
    const double share = std::exp(-std::exp(1.0 - k));
    CHECK(below[k] == Approx(share * count).margin(4 * std::sqrt(count * share * (1 - share))));
  }
}

TEST_CASE("random: whole numbers below a bound") {
  const random_source random(5);
  int seen[7] = {};
  for (std::uint64_t n = 0; n < 7000; ++n) {
    const std::uint64_t number = random.below(7, 0, n);
    REQUIRE(number < 7);
    ++seen[number];
  }
  for (const int times : seen) CHECK(times == Approx(1000).margin(120));
  CHECK(random.below(1, 9, 9) == 0);
}
