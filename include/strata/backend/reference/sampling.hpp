// sample.
// Shapes: logits [B,V] -> ids [B].
// Source: top-k by fraction and Gumbel noise as in the reference package; Gumbel-max: Maddison et al., arXiv 1411.0030.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <strata/backend/reference/context.hpp>
#include <strata/core/random.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void sample(reference<S>&, const sampling_options& options, std::uint64_t counter, input<S, 2> logits,
            view<token, 1> ids) {
  const random_source random(options.seed);
  std::vector<token> likely(static_cast<std::size_t>(logits.shape[1]));
  for (index_type b = 0; b < ids.size(); ++b) {
    const auto row = logits[b];
    ids(b) = -1;
    if (std::any_of(row.data, row.data + row.size(), [](S x) { return std::isnan(x); })) continue;
    std::iota(likely.begin(), likely.end(), 0);
    std::sort(likely.begin(), likely.end(),
              [&](token v, token w) { return row(v) != row(w) ? row(v) > row(w) : v < w; });
    const double most = static_cast<double>(row(likely[0]));
    double best = -std::numeric_limits<double>::infinity();
    for (index_type n = 0; n < options.candidates(row.size()); ++n) {
      const token v = likely[static_cast<std::size_t>(n)];
      const double x = static_cast<double>(row(v));
      const double score =
          (x == most ? 0 : (x - most) / options.temperature) + random.gumbel(options.stream(b, v), counter);
      if (!(score > best || (score == best && v < ids(b)))) continue;
      best = score;
      ids(b) = v;
    }
  }
}

}  // namespace strata
