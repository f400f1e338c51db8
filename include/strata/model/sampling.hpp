// Choosing the next token from logits.
// Shapes: logits [V] -> one token.
// Source: top-k by fraction and Gumbel noise as in the reference package; Gumbel-max: Maddison et al., arXiv 1411.0030.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/random.hpp>
#include <strata/core/view.hpp>

namespace strata {

struct sampling_options {
  double temperature = 1;  ///< 0: always the most likely token
  double threshold = 0.9;  ///< keeps the max(1, (1 - threshold) V) most likely tokens; 0: all
  std::uint64_t seed = 0;
};

inline void check(const sampling_options& options) {
  require(std::isfinite(options.temperature) && options.temperature >= 0, "temperature must be 0 or positive, not ",
          options.temperature);
  require(options.threshold >= 0 && options.threshold <= 1, "threshold must be between 0 and 1, not ",
          options.threshold);
}

/// Candidates are the most likely tokens, ties in favour of the smaller token. The draw depends on the seed, `stream`
/// (which text) and `counter` (which position) alone.
template <class S>
token sample(std::span<const S> logits, const sampling_options& options, std::uint64_t stream, std::uint64_t counter) {
  std::vector<token> candidates(logits.size());
  std::iota(candidates.begin(), candidates.end(), 0);
  const auto before = [&](token a, token b) {
    const S x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (options.temperature == 0) return *std::min_element(candidates.begin(), candidates.end(), before);
  const auto kept = std::max(1.0, (1 - options.threshold) * static_cast<double>(logits.size()));
  const auto count = std::min(candidates.size(), static_cast<std::size_t>(kept));
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(count), candidates.end(),
                    before);
  const random_source random(options.seed);
  token best = candidates[0];
  double best_score = -std::numeric_limits<double>::infinity();
  for (std::size_t n = 0; n < count; ++n) {
    const double noise = -std::log(-std::log(random.uniform((stream << 32) + n, counter)));
    const double score =
        static_cast<double>(logits[static_cast<std::size_t>(candidates[n])]) / options.temperature + noise;
    if (score > best_score) {
      best_score = score;
      best = candidates[n];
    }
  }
  return best;
}

}  // namespace strata
