// Tables of n-grams: a row for each sequence of `length` tokens is added to the embedding of the last of them.
// Shapes: a table [rows, dim].
// Source: docs/model.md; the hash is SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
#pragma once

#include <cstdint>
#include <limits>
#include <span>

#include <strata/core/aggregate_list.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

inline constexpr int longest_ngram = 16;
inline constexpr int most_ngram_rows = 1 << 26;  ///< of one table

/// Describes one table. With as many rows as there are n-grams, each n-gram has its own row. With fewer rows, a hash
/// chooses the row, and some n-grams share one.
struct ngram {
  int length = 2;  ///< tokens, the newest included
  int rows = 0;    ///< of the table; 0: one for each n-gram

  static constexpr ngram absent() { return {.length = std::numeric_limits<int>::min()}; }
  constexpr bool operator==(const ngram&) const = default;
};
using ngram_list = aggregate_list<ngram>;

/// vocabulary^length, or a number above `most_ngram_rows` if it is larger than that.
constexpr std::int64_t ngram_count(int vocabulary, int length) {
  std::int64_t count = 1;
  for (int n = 0; n < length && count <= most_ngram_rows; ++n) count *= vocabulary;
  return count;
}

/// One table with every default resolved.
struct ngram_facts {
  int length = 0;
  index_type rows = 0;
  bool exact = true;  ///< whether each n-gram has its own row
  int level = -1;     ///< the level whose positions look it up; -1: the token embedding
  int stride = 1;     ///< tokens between two of those positions
  int dim = 0;        ///< width of a row

  constexpr index_type positions(index_type tokens) const { return (tokens + stride - 1) / stride; }
  /// Rows that a pass over [batch, tokens] looks up at most.
  constexpr index_type slots(index_type batch, index_type tokens) const {
    return rows < batch * positions(tokens) ? rows : batch * positions(tokens);
  }
};

/// One step of SplitMix64. The files of models rely on its numbers.
constexpr std::uint64_t mixed_bits(std::uint64_t state) {
  std::uint64_t z = state + 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// The row of the n-gram `tokens`, oldest first. An exact table is ordered like the numbers whose digits are the tokens.
/// Otherwise the row is h mod rows, where h starts at 0 and each token makes it mixed_bits(h xor token).
constexpr token ngram_row(const ngram_facts& table, int vocabulary, std::span<const token> tokens) {
  std::uint64_t row = 0;
  for (const token each : tokens)
    row = table.exact ? row * static_cast<std::uint64_t>(vocabulary) + static_cast<std::uint64_t>(each)
                      : mixed_bits(row ^ static_cast<std::uint64_t>(each));
  return static_cast<token>(row % static_cast<std::uint64_t>(table.rows));
}

}  // namespace strata
