// Rows of n-gram tables, added to the token embedding or to the positions of a level.
// Shapes: y [B,n,d] += table[rows,d] at one row a position.
// Source: docs/model.md, "N-grams".
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

/// Offsets of the tables, in the order of facts<D>::ngrams.
template <std::size_t Count>
using ngram_parameters = std::array<tensor<2>, Count>;  // each [rows, d]

template <class Table, std::size_t Count>
constexpr ngram_parameters<Count> declare_ngrams(Table& table, const std::array<ngram_facts, Count>& tables) {
  using name = typename Table::name;
  ngram_parameters<Count> own;
  int of_place = 0;  // number among the tables of one level, or of the token embedding
  for (int k = 0; k < static_cast<int>(Count); ++k) {
    of_place = k > 0 && tables[k].level == tables[k - 1].level ? of_place + 1 : 0;
    const name prefix = tables[k].level < 0 ? name("ngram_embs.") : name("compressors.") + tables[k].level + ".ngrams.";
    own[k] = table.add_table(prefix + of_place + ".weight", {tables[k].rows, tables[k].dim}, zeros);
  }
  return own;
}

/// Fills `rows` with the row of each position of one text. `ids` are tokens of the text, `first` the place of the token
/// of position 0 among them; the next positions are `table.stride` tokens apart. A position has no row, -1, if an id of
/// its n-gram is negative or before `ids`.
inline void find_ngram_rows(const ngram_facts& table, int vocabulary, std::span<const token> ids, index_type first,
                            std::span<token> rows) {
  index_type at = first;
  for (token& row : rows) {
    row = -1;
    if (at + 1 >= table.length) {
      const auto own =
          ids.subspan(static_cast<std::size_t>(at + 1 - table.length), static_cast<std::size_t>(table.length));
      if (std::ranges::none_of(own, [](token id) { return id < 0; })) row = ngram_row(table, vocabulary, own);
    }
    at += table.stride;
  }
}

/// Adds the rows of the tables of `level`; -1: of the token embedding.
template <class Backend, std::size_t Count, class S = typename Backend::scalar>
void ngrams_forward(const pass<Backend>& p, const std::array<ngram_facts, Count>& tables, int level,
                    const ngram_parameters<Count>& own, std::span<const std::type_identity_t<ngram_lookup<S>>> lookups,
                    output<S, 2> y) {
  for (int k = 0; k < static_cast<int>(Count); ++k)
    if (tables[k].level == level) embed(p.backend, lookups[k].rows, p.weights[own[k]], y, update::add);
}

/// Adds to the gradients of the rows that `lookups` names.
template <class Backend, std::size_t Count, class S = typename Backend::scalar>
void ngrams_backward(const pass<Backend>& p, const std::array<ngram_facts, Count>& tables, int level, input<S, 2> dy) {
  for (int k = 0; k < static_cast<int>(Count); ++k)
    if (tables[k].level == level) embed_backward(p.backend, p.lookups[k].slots, dy, p.lookups[k].gradient);
}

}  // namespace strata
