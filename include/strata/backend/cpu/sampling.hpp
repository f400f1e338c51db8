// sample.
// Shapes: logits [B,V] -> ids [B].
// Source: backend/reference/sampling.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <strata/backend/cpu/context.hpp>
#include <strata/core/random.hpp>

namespace strata::inline STRATA_ABI {

inline void sample(cpu& backend, const sampling_options& options, std::uint64_t counter, input<float, 2> logits,
                   view<token, 1> ids) {
  const random_source random(options.seed);
  const index_type vocabulary = logits.shape[1], kept = options.candidates(vocabulary);
  backend.parallel_numbered(ids.size(), 8 * vocabulary + 128 * kept, [&](int thread, index_type begin, index_type end) {
    float* const sorted = backend.thread_memory(thread, vocabulary);
    for (index_type b = begin; b < end; ++b) {
      const float* const row = logits.data + b * vocabulary;
      ids(b) = -1;
      if (std::any_of(row, row + vocabulary, [](float x) { return std::isnan(x); })) continue;
      // Candidates are all logits above the least kept one, then the first logits equal to it.
      std::copy_n(row, vocabulary, sorted);
      std::nth_element(sorted, sorted + kept - 1, sorted + vocabulary, std::greater<>());
      const float least = sorted[kept - 1];
      const double most = *std::max_element(sorted, sorted + kept);
      index_type equal = kept - std::count_if(sorted, sorted + kept, [&](float x) { return x > least; });
      double best = -std::numeric_limits<double>::infinity();
      for (index_type v = 0; v < vocabulary; ++v) {
        const double x = row[v];
        if (x < least || (x == least && equal-- <= 0)) continue;
        const double score = (x == most ? 0 : (x - most) / options.temperature) +
                             random.gumbel(options.stream(b, static_cast<token>(v)), counter);
        if (score <= best) continue;
        best = score;
        ids(b) = static_cast<token>(v);
      }
    }
  });
}

}  // namespace strata
