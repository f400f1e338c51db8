// The learning rate of a step: linear warm-up, then half a cosine down to a fraction of the peak.
// Source: Loshchilov and Hutter, arXiv 1608.03983, without restarts.
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

struct schedule_options {
  double peak = 3e-3;           ///< learning rate after the warm-up
  double final_fraction = 0.1;  ///< of the peak, at the last step
  index_type warmup = 50;       ///< steps
  index_type steps = 1000;      ///< in all; later steps stay at the final rate
};

/// `step` counts from 0.
inline double learning_rate(const schedule_options& options, index_type step) {
  if (step < options.warmup) return options.peak * static_cast<double>(step + 1) / static_cast<double>(options.warmup);
  const double length = static_cast<double>(std::max<index_type>(1, options.steps - options.warmup));
  const double progress = std::min(1.0, static_cast<double>(step - options.warmup) / length);
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options.peak * (options.final_fraction + (1 - options.final_fraction) * cosine);
}

}  // namespace strata
