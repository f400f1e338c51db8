// `suggest` chooses the preset whose time is nearest, and options that a trainer takes.
#include <array>
#include <limits>

#include <strata/train/suggest.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

using strata::budget, strata::suggest;

TEST_CASE("a suggestion follows from the time on all processors") {
  CHECK(suggest(1'000'000, 1).model == budget::half_minute);
  CHECK(suggest(1'000'000, 59).model == budget::half_minute);
  CHECK(suggest(1'000'000, 61).model == budget::two_minutes);
  CHECK(suggest(1'000'000, 61, 1).model == budget::half_minute);
  CHECK(suggest(1'000'000, 10, 16).model == budget::two_minutes);
  CHECK(suggest(1'000'000, 250).model == budget::two_minutes);
  CHECK(suggest(1'000'000, 300).model == budget::ten_minutes);
  CHECK(suggest(1'000'000, 3600).model == budget::one_hour);
  CHECK(suggest(1'000'000, 1e9).model == budget::ten_hours);
}

TEST_CASE("wide models learn at lower rates") {
  const auto rates = [](double seconds) {
    const auto found = suggest(1'000'000'000, seconds).training;
    return std::array{found.schedule.peak, found.muon.learning_rate};
  };
  CHECK(rates(30) == std::array{5e-3, 0.02});
  CHECK(rates(600) == std::array{5e-3, 0.02});
  CHECK(rates(3600)[0] == Approx(5e-3 * 128 / 192));
  CHECK(rates(36000)[1] == Approx(0.02 * 128 / 320));
}

TEST_CASE("many passes over a text get dropout") {
  CHECK_FALSE(suggest(100'000'000, 60).training.dropout.any());
  CHECK(suggest(50'000, 60).training.dropout == strata::dropout_rates{.attention = 0.1, .feed_forward = 0.1});
  CHECK(suggest(1'000'000, 600).training.optimizer == strata::optimizer_kind::muon);
}

TEST_CASE("a suggestion for nothing is refused") {
  CHECK(message_of([] { suggest(0, 60); }) == "a text to learn must not be empty, but has 0 bytes");
  CHECK(message_of([] { suggest(9, 0); }) == "seconds must be positive, not 0");
  CHECK(message_of([] { suggest(9, std::numeric_limits<double>::infinity()); }) == "seconds must be positive, not inf");
  CHECK(message_of([] { suggest(9, 60, 0); }) == "processors must be positive, not 0");
}
