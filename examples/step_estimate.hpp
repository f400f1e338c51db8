// How many steps fit in a given time.
#pragma once

#include <algorithm>
#include <optional>

#include <strata/core/view.hpp>

namespace examples {

/// The number of steps of a timed run, before it is known.
inline constexpr strata::index_type steps_unknown = strata::index_type{1} << 40;

/// Estimates the steps of a timed run: after the first few steps, and again from time to time.
class step_estimate {
 public:
  explicit step_estimate(double seconds) : pause_(std::min(3.0, seconds / 10)) {}

  /// Call it after every step, `passed` seconds after the first began and with `left` seconds to go. Returns how many
  /// steps remain where there is a new estimate: at least 1, so end the run yourself when no time is left.
  std::optional<strata::index_type> after_step(double passed, double left) {
    if (++done_ == 1) first_step_ = passed;
    const double measured = passed - first_step_;
    if (done_ < 5 || measured < pause_ || passed - estimated_ < pause_) return std::nullopt;
    estimated_ = passed;
    const double a_step = measured / static_cast<double>(done_ - 1);
    return std::max<strata::index_type>(1, static_cast<strata::index_type>(left / a_step));
  }

 private:
  double pause_, first_step_ = 0, estimated_ = 0;
  strata::index_type done_ = 0;
};

}  // namespace examples
