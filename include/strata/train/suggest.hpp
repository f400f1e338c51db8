// A model and options for a training of a given time on a given text.
// Source: docs/experiments.md, "The right size".
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include <strata/config/cost.hpp>
#include <strata/config/presets.hpp>
#include <strata/core/error.hpp>
#include <strata/train/trainer.hpp>

namespace strata::inline STRATA_ABI {

/// The presets that are named by a time of training on two cores, from the shortest.
enum class budget { half_minute, two_minutes, ten_minutes, one_hour, ten_hours };
constexpr std::array<std::string_view, 5> names_of(budget) {
  return {"half_minute", "two_minutes", "ten_minutes", "one_hour", "ten_hours"};
}

/// Options that gave the lowest losses after minutes of training. The number of steps is left to the program.
inline constexpr training_options quick_training{
    .batch = 4,
    .schedule = {.peak = 5e-3, .final_fraction = 0, .warmup = 100, .decay = decay_kind::linear, .decay_fraction = 0.5},
    .optimizer = optimizer_kind::muon,
    .muon = {.learning_rate = 0.02}};

inline constexpr double flops_of_a_core = 1e11;       ///< what training uses of one
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
  struct size {
    budget model;
    double seconds, flops_per_token;
  };
  constexpr std::array sizes{
      size{budget::half_minute, 30, cost<presets::half_minute>::training_flops_per_token},
      size{budget::two_minutes, 120, cost<presets::two_minutes>::training_flops_per_token},
      size{budget::ten_minutes, 600, cost<presets::ten_minutes>::training_flops_per_token},
      size{budget::one_hour, 3600, cost<presets::one_hour>::training_flops_per_token},
      size{budget::ten_hours, 36000, cost<presets::ten_hours>::training_flops_per_token},
  };
  // The preset whose time is nearest, by ratio.
  const double on_two = seconds * processors / 2;
  const auto distance = [&](const size& each) { return std::abs(std::log(on_two / each.seconds)); };
  const size nearest = *std::ranges::min_element(sizes, {}, distance);
  suggestion found{.model = nearest.model};
  const double tokens = seconds * processors * flops_of_a_core / nearest.flops_per_token;
  if (tokens > passes_without_dropout * static_cast<double>(text_bytes))
    found.training.dropout = {.attention = 0.1, .feed_forward = 0.1};
  return found;
}

}  // namespace strata
