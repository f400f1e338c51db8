// The learning rate of a step: linear warm-up, constant, then a decay to a fraction of the peak.
// Source: cosine: Loshchilov and Hutter, arXiv 1608.03983, without restarts; a linear decay over the last part of a run:
// Haegele et al., arXiv 2405.18392.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <string_view>

#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// The curve along which the learning rate falls.
enum class decay_kind { cosine, linear };
constexpr std::array<std::string_view, 2> names_of(decay_kind) { return {"cosine", "linear"}; }

struct schedule_options {
  double peak = 3e-3;           ///< learning rate after the warm-up
  double final_fraction = 0.1;  ///< of the peak, at the last step
  index_type warmup = 50;       ///< steps
  index_type steps = 1000;      ///< in all; later steps stay at the final rate
  decay_kind decay = decay_kind::cosine;
  double decay_fraction = 1;  ///< share of the steps after the warm-up, at the end, in which the rate falls; 0: never
};

/// `step` counts from 0.
inline double learning_rate(const schedule_options& options, index_type step) {
  if (step < options.warmup) return options.peak * static_cast<double>(step + 1) / static_cast<double>(options.warmup);
  if (options.decay_fraction == 0) return options.peak;
  const double length = static_cast<double>(std::max<index_type>(1, options.steps - options.warmup));
  const double passed = static_cast<double>(step - options.warmup) - (1 - options.decay_fraction) * length;
  const double progress = std::clamp(passed / (options.decay_fraction * length), 0.0, 1.0);
  const double height =
      options.decay == decay_kind::cosine ? 0.5 * (1 + std::cos(std::numbers::pi * progress)) : 1 - progress;
  return options.peak * (options.final_fraction + (1 - options.final_fraction) * height);
}

/// A size that doubles in equal parts of `steps` from `first` until it is `last`, at step `step`, counted from 0.
constexpr index_type grown(index_type first, index_type last, index_type step, index_type steps) {
  if (step >= steps || first >= last) return last;
  index_type doublings = 0;
  for (index_type size = first; size < last; size *= 2) ++doublings;
  // step * doublings / steps without a large product.
  const index_type stage = step / steps * doublings + step % steps * doublings / steps;
  return std::min(last, first << stage);
}

}  // namespace strata
