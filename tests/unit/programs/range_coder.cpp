// The range coder of compress_text: what was coded comes back, whatever the frequencies, and costs what it must.
#include "../examples/compress_text/range_coder.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <strata/core/random.hpp>

#include "support/catch.hpp"

namespace {

using compress_text::frequency_sum;

struct decision {
  bool value;
  std::uint32_t frequency;
};

std::vector<std::uint8_t> bytes_of_decisions(const std::vector<decision>& decisions) {
  std::vector<std::uint8_t> bytes;
  compress_text::range_encoder encoder(bytes);
  for (const decision& each : decisions) encoder.encode(each.value, each.frequency);
  encoder.finish();
  return bytes;
}

void check_that_it_comes_back(const std::vector<decision>& decisions) {
  const std::vector<std::uint8_t> bytes = bytes_of_decisions(decisions);
  compress_text::range_decoder decoder(bytes);
  std::size_t wrong = 0;
  for (const decision& each : decisions) wrong += decoder.decode(each.frequency) != each.value;
  CHECK(wrong == 0);
}

double least_bits(const std::vector<decision>& decisions) {
  double bits = 0;
  for (const decision& each : decisions)
    bits -= std::log2(static_cast<double>(each.value ? each.frequency : frequency_sum - each.frequency) /
                      static_cast<double>(frequency_sum));
  return bits;
}

/// Decisions that are as likely as their frequencies say.
std::vector<decision> likely_decisions(std::uint64_t seed, std::size_t count, double power) {
  const strata::random_source random(seed);
  std::vector<decision> decisions;
  for (std::size_t n = 0; n < count; ++n) {
    // With a large power, most frequencies are near 0 or near their sum.
    double share = std::pow(random.uniform(0, n), power);
    if (random.uniform(1, n) < 0.5) share = 1 - share;
    const auto frequency = std::min(frequency_sum - 1, 1 + static_cast<std::uint32_t>(share * frequency_sum));
    decisions.push_back({random.uniform(2, n) * frequency_sum < frequency, frequency});
  }
  return decisions;
}

}  // namespace

TEST_CASE("nothing is coded in a few bytes") { CHECK(bytes_of_decisions({}).size() <= 5); }

TEST_CASE("both values can be coded at the least and the largest frequency") {
  for (const std::uint32_t frequency : {1u, 2u, frequency_sum / 2, frequency_sum - 2, frequency_sum - 1}) {
    for (const bool value : {false, true}) check_that_it_comes_back(std::vector<decision>(1000, {value, frequency}));
    check_that_it_comes_back({{true, frequency}, {false, frequency}, {false, frequency}, {true, frequency}});
  }
}

TEST_CASE("carries pass through bytes of 255") {
  // The last part of a range is chosen again and again, then its first part: all lengths of such runs.
  for (int run = 0; run < 200; ++run) {
    std::vector<decision> decisions;
    for (int n = 0; n < run; ++n) decisions.push_back({false, 1});
    for (int n = 0; n < 60; ++n) decisions.push_back({n % 3 == 0, frequency_sum / 2});
    for (int n = 0; n < run; ++n) decisions.push_back({n % 7 != 0, frequency_sum - 3});
    check_that_it_comes_back(decisions);
  }
}

TEST_CASE("coded decisions are longer than their entropy by less than a thousandth") {
  for (const double power : {1.0, 3.0, 8.0, 20.0}) {
    const std::vector<decision> decisions = likely_decisions(static_cast<std::uint64_t>(power), 1'000'000, power);
    check_that_it_comes_back(decisions);
    const double bits = 8 * static_cast<double>(bytes_of_decisions(decisions).size()), least = least_bits(decisions);
    INFO("power " << power << ": " << bits << " bits, entropy " << least);
    CHECK(bits >= least);
    CHECK(bits < 1.001 * least);
  }
}

TEST_CASE("a likely decision costs almost nothing") {
  CHECK(bytes_of_decisions(std::vector<decision>(1'000'000, {true, frequency_sum - 1})).size() <= 6);
}

TEST_CASE("missing and altered bytes give other decisions, and no more") {
  const std::vector<decision> decisions = likely_decisions(3, 10'000, 2);
  std::vector<std::uint8_t> bytes = bytes_of_decisions(decisions);
  for (std::size_t n = 0; n < bytes.size(); n += 37) bytes[n] ^= 0x55;
  bytes.resize(bytes.size() / 2);
  compress_text::range_decoder decoder(bytes);
  std::size_t wrong = 0;
  for (const decision& each : decisions) wrong += decoder.decode(each.frequency) != each.value;
  CHECK(wrong > 0);
  CHECK(decoder.position() > bytes.size());
}
