// The memory that a training needs, known before anything is allocated.
#pragma once

#include <algorithm>
#include <string>

#include <strata/strata.hpp>

#include "console.hpp"

namespace examples {

inline std::string shown_bytes(double bytes) {
  return bytes < 1e9 ? fixed(bytes / 1e6, 1) + " MB" : fixed(bytes / 1e9, 1) + " GB";
}

template <const auto& D, class Losses>
class training_memory {
 public:
  training_memory(const strata::training_options& training, const Losses& losses, bool recomputes, bool measures_noise)
      : training_(training), losses_(losses), recomputes_(recomputes), measures_noise_(measures_noise) {}

  /// Bytes of the weights, as many for the gradient and each of two moments, and what else is kept of each weight.
  double of_weights() const {
    const int kept = 4 + (training_.average > 0 ? 2 : 0) + (measures_noise_ ? 1 : 0);
    return kept * static_cast<double>(cost::parameters) * sizeof(float);
  }
  double of_batch() const { return static_cast<double>(training_.batch) * of_text(recomputes_); }

  /// Throws if the training does not fit in `present` bytes, and names what would.
  void require_within(double present) const {
    const double left = present - of_weights();
    if (of_batch() < left) return;
    std::string help;
    const double recomputing = static_cast<double>(training_.batch) * of_text(true);
    if (recomputing < left) help += "; with --recompute it needs " + shown_bytes(of_weights() + recomputing);
    // The largest share of the batch that fits.
    const double most = std::min(std::max(left, 0.0) / of_text(recomputes_), static_cast<double>(training_.batch) / 2);
    auto part = static_cast<strata::index_type>(most);
    while (part > 0 && training_.batch % part != 0) --part;
    if (part > 0)
      help += strata::to_text("; the same steps with --batch ", part, " --accumulation ",
                              training_.batch / part * training_.accumulation, " need ",
                              shown_bytes(of_weights() + static_cast<double>(part) * of_text(recomputes_)));
    strata::fail("a batch of ", training_.batch, " texts of ", training_.length, " tokens needs ",
                 shown_bytes(of_weights() + of_batch()), " of memory with the weights, but this machine has ",
                 shown_bytes(present), help);
  }

 private:
  using cost = strata::cost<D, Losses>;

  double of_text(bool recomputes) const {
    const auto use = recomputes ? strata::activation_use::recomputing : strata::activation_use::training;
    return static_cast<double>(
        cost::activation_bytes(1, training_.length, use, sizeof(float), losses_, training_.dropout));
  }

  strata::training_options training_;
  Losses losses_;
  bool recomputes_, measures_noise_;
};

}  // namespace examples
