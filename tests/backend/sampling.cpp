// sample.
#include <numeric>

#include "backend/setups.hpp"

namespace strata {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// What `sample` draws for logits[B,V].
template <class Bench>
std::vector<double> drawn(Bench& bench, const sampling_options& options, std::uint64_t counter,
                          const std::vector<double>& logits, index_type batch) {
  const auto ids = bench.tokens_of(std::vector<token>(static_cast<std::size_t>(batch), -7), {batch});
  sample(bench.backend, options, counter, bench.of(logits, {batch, static_cast<index_type>(logits.size()) / batch}),
         ids);
  return bench.read(ids);
}

std::vector<double> repeated(const std::vector<double>& row, index_type times) {
  std::vector<double> rows;
  for (index_type n = 0; n < times; ++n) rows.insert(rows.end(), row.begin(), row.end());
  return rows;
}

}  // namespace

TEST_CASE("sampling equals the reference: the same tokens") {
  for (const index_type vocabulary : {1, 2, 31, 256, 257, 2048, 5000})
    for (const double threshold : {0.0, 0.9, 1.0}) {
      CAPTURE(vocabulary, threshold);
      check_against_reference(0, [&](auto& bench) {
        const index_type batch = vocabulary % 3 + 1;
        const auto ids = bench.tokens(0, 0, {batch});
        const auto logits = bench.normal({batch, vocabulary}, 2), equal = bench.unset({batch, vocabulary});
        // Many logits are equal, zeros of both signs too, so the last candidates are chosen among equals.
        std::vector<double> values = bench.read(logits);
        for (double& value : values) value = std::trunc(value);
        bench.write(equal, values);
        std::uint64_t counter = std::uint64_t{1} << 40;
        for (const double temperature : {0.0, 0.7, 40.0})
          for (const auto& x : {logits, equal}) {
            sample(bench.backend, {temperature, threshold, 5}, ++counter, x, ids);
            bench.result("ids", ids);
          }
      });
    }
}

TEST_CASE("sampling follows the softmax of the candidates") {
  constexpr index_type texts = 400;
  const std::vector<double> logits{0.5, -2, 3, 2, -1, 2.5, 1, -3};
  for (const sampling_options& options :
       {sampling_options{1, 0}, sampling_options{2, 0.25}, sampling_options{1, 0.6}}) {
    CAPTURE(options.threshold, options.temperature);
    std::vector<double> shares(logits.size());
    const auto kept = static_cast<std::size_t>((1 - options.threshold) * 8);
    std::vector<double> sorted = logits;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t v = 0; v < logits.size(); ++v)
      shares[v] = logits[v] >= sorted[kept - 1] ? std::exp(logits[v] / options.temperature) : 0;
    const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= total;

    on_every_bench([&](auto& bench) {
      std::vector<std::vector<double>> all;
      for (const auto& [seed, counter] : {std::pair<std::uint64_t, std::uint64_t>{1, 0}, {2, 0}, {1, 1}, {1, 0}})
        all.push_back(
            drawn(bench, {options.temperature, options.threshold, seed}, counter, repeated(logits, texts), texts));
      std::vector<double> seen(logits.size());
      for (std::size_t n = 0; n < 3; ++n)
        for (const double id : all[n]) {
          REQUIRE((id >= 0 && id < 8));
          ++seen[static_cast<std::size_t>(id)];
        }
      // Four standard deviations of the binomial distribution, here and below. A token that is no candidate is never
      // drawn.
      for (std::size_t v = 0; v < logits.size(); ++v)
        CHECK(seen[v] == Approx(3 * texts * shares[v]).margin(4 * std::sqrt(3 * texts * shares[v] * (1 - shares[v]))));
      // Another seed, position or text agrees with the first only by chance; the same ones always do.
      double agreement = 0;
      for (const double share : shares) agreement += share * share;
      const auto by_chance = Approx(texts * agreement).margin(4 * std::sqrt(texts * agreement * (1 - agreement)));
      std::vector<double> neighbours = all[0];
      std::rotate(neighbours.begin(), neighbours.begin() + 1, neighbours.end());
      for (const auto& other : {all[1], all[2], neighbours})
        CHECK(std::inner_product(other.begin(), other.end(), all[0].begin(), 0.0, std::plus<>(), std::equal_to<>()) ==
              by_chance);
      CHECK(all[3] == all[0]);
    });
  }
}

TEST_CASE("sampling: of equal tokens that with the largest random number is drawn") {
  const std::uint64_t seed = (std::uint64_t{3} << 32) + 9, counter = (std::uint64_t{1} << 32) + 4;
  const random_source random(seed);
  std::vector<double> expected;
  for (std::uint64_t b = 0; b < 3; ++b) {
    std::vector<double> numbers;
    for (std::uint64_t v = 0; v < 300; ++v) numbers.push_back(random.uniform((b << 32) + v, counter));
    // The first half are candidates.
    expected.push_back(static_cast<double>(std::max_element(numbers.begin(), numbers.begin() + 150) - numbers.begin()));
  }
  on_every_bench([&](auto& bench) {
    const std::vector<double> equal(900, -1.5);
    CHECK(drawn(bench, {1, 0.5, seed}, counter, equal, 3) == expected);
    CHECK(drawn(bench, {1e300, 0.5, seed}, counter, equal, 3) == expected);
    CHECK(drawn(bench, {1e-300, 0.5, seed}, counter, equal, 3) == expected);
  });
}

TEST_CASE("sampling: known values") {
  using numbers = std::vector<double>;
  on_every_bench([](auto& bench) {
    const auto always = [&](const sampling_options& options, const numbers& logits) {
      const auto ids = drawn(bench, options, 3, repeated(logits, 10), 10);
      return std::equal(ids.begin() + 1, ids.end(), ids.begin()) ? ids[0] : -2;
    };
    const sampling_options greedy{.temperature = 0, .threshold = 0}, any{.threshold = 0};
    CHECK(always(greedy, {1, 2, 2, 2}) == 1);
    CHECK(always(greedy, {-3, -2, -1, -7}) == 2);
    CHECK(always(greedy, {-1, -0.0, 0, -0.0}) == 1);
    CHECK(always({.threshold = 0.9}, {1, 2, 2, 2}) == 1);  // at least one candidate
    CHECK(always({.threshold = 1}, {0, 5, 9, 9, 3}) == 2);
    CHECK(always({.temperature = 1e-300, .threshold = 0}, {1e30, 2e30, -2e30, 1}) == 1);
    CHECK(always(any, {7}) == 0);
    // The limits of softmax.
    CHECK(always(any, {-infinity, -infinity, -5, -infinity}) == 2);
    CHECK(always(any, {1, infinity, 2, -infinity}) == 1);
    CHECK(always(greedy, {-infinity, -infinity}) == 0);
    CHECK(always(greedy, {3, infinity, infinity}) == 1);
    for (const double both : {-infinity, infinity}) {
      const auto ids = drawn(bench, any, 3, repeated({both, both}, 200), 200);
      CHECK(std::count(ids.begin(), ids.end(), 1) == Approx(100).margin(30));
      CHECK(std::count(ids.begin(), ids.end(), 0) + std::count(ids.begin(), ids.end(), 1) == 200);
    }
    // A row with a NaN draws -1, wherever the NaN is. Other rows are unaffected.
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK(drawn(bench, greedy, 0, {1, 2, 0, nan, 9, 1, 3, 1, 2, 1, -infinity, nan, infinity, 5, 4}, 5) ==
          numbers{1, -1, 0, -1, 0});
    numbers long_row(5000, 1);
    long_row[4999] = nan;
    CHECK(drawn(bench, any, 0, long_row, 1) == numbers{-1});
    long_row[4999] = 2;
    CHECK(drawn(bench, greedy, 0, long_row, 1) == numbers{4999});
  });
}

TEST_CASE("sampling: how many tokens are candidates") {
  const auto candidates = [](double threshold, double temperature) {
    return sampling_options{.temperature = temperature, .threshold = threshold}.candidates(10);
  };
  CHECK(candidates(0, 1) == 10);
  CHECK(candidates(0.7, 1) == 3);
  CHECK(candidates(0.71, 1) == 2);
  CHECK(candidates(0.95, 1) == 1);
  CHECK(candidates(1, 1) == 1);
  CHECK(candidates(0, 0) == 1);
}

}  // namespace strata
