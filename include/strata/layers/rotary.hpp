// Tables of the rotary embedding: angles and xPos factors by position, and by distance for incremental attention.
// Shapes: [4,n,E/2]: cos and sin for queries, then for keys; [2,span,E/2]: cos and sin by distance.
// Source: RoFormer, arXiv 2104.09864; xPos, arXiv 2212.10554.
#pragma once

#include <cmath>
#include <vector>

#include <strata/config/facts.hpp>

namespace strata::inline STRATA_ABI {

/// Frequency and xPos base of pair `pair`; the base is 1 without xPos.
struct rotary_pair {
  double frequency, decay;
  rotary_pair(const level_facts& level, index_type pair)
      : frequency(std::pow(10000.0, -2.0 * static_cast<double>(pair) / level.head_dim)),
        decay(level.full ? (2.0 * static_cast<double>(pair) + 0.4 * level.head_dim) / (1.4 * level.head_dim) : 1.0) {}
  /// Queries are multiplied by factor(t), keys divided by it; only differences of t matter.
  double factor(double t) const { return std::pow(decay, t / 512.0); }
};

/// For positions 0 .. count-1 of a sequence.
template <class S>
std::vector<S> rotary_table(const level_facts& level, index_type count) {
  const index_type half = level.head_dim / 2;
  std::vector<S> table(static_cast<std::size_t>(4 * count * half));
  for (index_type e = 0; e < half; ++e) {
    const rotary_pair pair(level, e);
    for (index_type t = 0; t < count; ++t) {
      const double angle = static_cast<double>(t) * pair.frequency;
      const double factor = pair.factor(static_cast<double>(t) - static_cast<double>(count) / 2);
      const double values[] = {std::cos(angle) * factor, std::sin(angle) * factor, std::cos(angle) / factor,
                               std::sin(angle) / factor};
      for (index_type which = 0; which < 4; ++which)
        table[static_cast<std::size_t>((which * count + t) * half + e)] = static_cast<S>(values[which]);
    }
  }
  return table;
}

/// For distances 0 .. span-1 between a query and an earlier key.
template <class S>
std::vector<S> rotary_distance_table(const level_facts& level) {
  const index_type half = level.head_dim / 2;
  std::vector<S> table(static_cast<std::size_t>(2 * level.span * half));
  for (index_type e = 0; e < half; ++e) {
    const rotary_pair pair(level, e);
    for (index_type distance = 0; distance < level.span; ++distance) {
      const double angle = static_cast<double>(distance) * pair.frequency;
      const double factor = pair.factor(static_cast<double>(distance));
      table[static_cast<std::size_t>(distance * half + e)] = static_cast<S>(std::cos(angle) * factor);
      table[static_cast<std::size_t>((level.span + distance) * half + e)] = static_cast<S>(std::sin(angle) * factor);
    }
  }
  return table;
}

}  // namespace strata
