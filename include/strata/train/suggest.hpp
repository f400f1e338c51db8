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
inline constexpr int width_of_rates = 128;            ///< wider models learn at lower rates than `quick_training`

/// What `suggest` found: the preset of `model`, and how to train it.
struct suggestion {
  budget model = budget::half_minute;
  training_options training = quick_training;
};

namespace detail {

/// A preset, with the time on two cores that it is made for.
struct preset_for_time {
  budget model;
  double seconds, flops_per_token;
  int width;
};
template <const auto& D>
constexpr preset_for_time preset_for(budget model, double seconds) {
  return {model, seconds, cost<D>::training_flops_per_token, D.levels[0].dim};
}

}  // namespace detail

/// Suggests what to train for `seconds` on `processors` cores with `text_bytes` of training text. Many passes over a text
/// get dropout. The steps of the schedule stay as they are: they follow from the speed of the machine.
inline suggestion suggest(index_type text_bytes, double seconds, int processors = 2) {
  require(text_bytes > 0, "a text to learn must not be empty, but has ", text_bytes, " bytes");
  require(seconds > 0 && std::isfinite(seconds), "seconds must be positive, not ", seconds);
  require(processors > 0, "processors must be positive, not ", processors);
  constexpr std::array all{detail::preset_for<presets::half_minute>(budget::half_minute, 30),
                           detail::preset_for<presets::two_minutes>(budget::two_minutes, 120),
                           detail::preset_for<presets::ten_minutes>(budget::ten_minutes, 600),
                           detail::preset_for<presets::one_hour>(budget::one_hour, 3600),
                           detail::preset_for<presets::ten_hours>(budget::ten_hours, 36000)};
  // The one whose time is nearest, by ratio.
  const double on_two = seconds * processors / 2;
  const auto distance = [&](const auto& each) { return std::abs(std::log(on_two / each.seconds)); };
  const detail::preset_for_time nearest = *std::ranges::min_element(all, {}, distance);
  suggestion found{.model = nearest.model};
  const double slower = std::min(1.0, width_of_rates / static_cast<double>(nearest.width));
  found.training.schedule.peak *= slower;
  found.training.muon.learning_rate *= slower;
  const double tokens = seconds * processors * flops_of_a_core / nearest.flops_per_token;
  if (tokens > passes_without_dropout * static_cast<double>(text_bytes))
    found.training.dropout = {.attention = 0.1, .feed_forward = 0.1};
  return found;
}

}  // namespace strata
