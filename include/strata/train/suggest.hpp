// A model and options for a training of a given time on a given text.
// Source: docs/experiments.md, "The right size".
#pragma once

#include <array>
#include <cmath>
#include <string_view>

#include <strata/config/cost.hpp>
#include <strata/config/presets.hpp>
#include <strata/core/error.hpp>
#include <strata/train/trainer.hpp>

namespace strata::inline STRATA_ABI {

/// The presets that are named by a time of training on two cores, from the shortest.
enum class budget { half_minute, two_minutes };
constexpr std::array<std::string_view, 2> names_of(budget) { return {"half_minute", "two_minutes"}; }

/// Options that gave the lowest losses after minutes of training. The number of steps is left to the program.
inline constexpr training_options quick_training{
    .batch = 4,
    .schedule = {.peak = 5e-3, .final_fraction = 0, .warmup = 100, .decay = decay_kind::linear, .decay_fraction = 0.5},
    .optimizer = optimizer_kind::muon,
    .muon = {.learning_rate = 0.02}};

inline constexpr double flops_of_a_core = 5e10;       ///< what training uses of one
inline constexpr double passes_without_dropout = 10;  ///< over a text

/// What `suggest` found: the preset of `model`, and how to train it.
struct suggestion {
  budget model = budget::half_minute;
  training_options training = quick_training;
};

/// Suggests what to train for `seconds` on `processors` cores with `text_bytes` of training text. Many passes over a text
/// get dropout. The steps of the schedule stay as they are: they follow from the speed of the machine.
inline suggestion suggest(index_type text_bytes, double seconds, int processors = 2) {
  require(text_bytes > 0, "a text to learn must not be empty, but has ", text_bytes, " bytes");
  require(seconds > 0 && std::isfinite(seconds), "seconds must be positive, not ", seconds);
  require(processors > 0, "processors must be positive, not ", processors);
  // Between the two, in the logarithm. Longer trainings have no preset of their own yet.
  const bool short_one = seconds * processors / 2 < 60;
  const double flops_per_token = short_one ? cost<presets::half_minute>::training_flops_per_token
                                           : cost<presets::two_minutes>::training_flops_per_token;
  suggestion found{.model = short_one ? budget::half_minute : budget::two_minutes};
  const double tokens = seconds * processors * flops_of_a_core / flops_per_token;
  if (tokens > passes_without_dropout * static_cast<double>(text_bytes))
    found.training.dropout = {.attention = 0.1, .feed_forward = 0.1};
  return found;
}

}  // namespace strata
