// Where the texts of a pass are cut: the positions of levels whose boundaries follow the text.
// Shapes: a level has R positions in all texts; starts [R] and newest [R'], R' rows of the level that it shortens.
// Source: docs/model.md, "Boundaries".
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

/// The boundaries of one text at one level: for each position, the position of the finer level at which it begins, and
/// the token.
struct text_cuts {
  std::vector<index_type> source, tokens;
  bool pending = false;  ///< the rule held after the last position of the finer level: the next one begins a position
};

/// Whether a position begins at the last token of a text.
inline bool rule_holds(const boundary_rule& rule, std::span<const token> text) {
  return rule.begins(text.last(std::min(text.size(), static_cast<std::size_t>(rule.reach))));
}

/// Cuts a text at level `level`. `finer` is the level that it shortens; empty for the tokens themselves.
inline text_cuts cut(const level_facts& level, std::span<const token> text, const text_cuts* finer) {
  text_cuts own;
  const auto count = finer ? static_cast<index_type>(finer->tokens.size()) : static_cast<index_type>(text.size());
  index_type looked_at = 0;  // tokens up to here
  for (index_type i = 0; i < count; ++i) {
    const index_type t = finer ? finer->tokens[static_cast<std::size_t>(i)] : i;
    bool begins = i == 0 || (level.rule == nullptr && i % level.source_stride == 0);
    for (; looked_at <= t; ++looked_at) {
      if (level.rule != nullptr && rule_holds(*level.rule, text.first(static_cast<std::size_t>(looked_at + 1))))
        begins = true;
    }
    if (!begins) continue;
    own.source.push_back(i);
    own.tokens.push_back(t);
  }
  for (; looked_at < static_cast<index_type>(text.size()); ++looked_at)
    if (level.rule != nullptr && rule_holds(*level.rule, text.first(static_cast<std::size_t>(looked_at + 1))))
      own.pending = true;
  return own;
}

/// How many rows the streams of a level have: [batch, positions, d].
struct stream_shape {
  index_type batch = 0, positions = 0;
  index_type longest = 0;  ///< at least the positions of the longest text; rotary tables have so many
  constexpr bool operator==(const stream_shape&) const = default;
};
template <const auto& D>
using stream_shapes = std::array<stream_shape, facts<D>::level_count>;

/// The shapes of all levels in a pass over [batch, tokens]; of a level that follows the text, those of a mean text.
template <const auto& D>
constexpr stream_shapes<D> mean_shapes(index_type batch, index_type tokens) {
  stream_shapes<D> shapes;
  for (int l = 0; l < facts<D>::level_count; ++l) {
    const level_facts& level = facts<D>::levels[l];
    const index_type positions = level.positions(tokens);
    shapes[l] =
        level.ragged ? stream_shape{1, batch * positions, positions} : stream_shape{batch, positions, positions};
  }
  return shapes;
}

/// Positions of every level in a text of `length` tokens: the mean over up to 64 windows of `text`, rounded. For `cost`.
template <const auto& D, class Token>
std::array<index_type, facts<D>::level_count> mean_positions(std::span<const Token> text, index_type length) {
  using F = facts<D>;
  std::array<index_type, F::level_count> positions = F::positions(length), sums{};
  const auto window = static_cast<std::size_t>(length);
  if (!F::follows_text || text.size() < window) return positions;
  constexpr std::size_t most_windows = 64;
  const std::size_t count = std::min(most_windows, text.size() / window), step = text.size() / count;
  for (std::size_t n = 0; n < count; ++n) {
    const auto own = text.subspan(std::min(n * step, text.size() - window), window);
    const std::vector<token> ids(own.begin(), own.end());
    std::array<text_cuts, F::level_count> cuts;
    for (const int l : F::by_compression) {
      if (!F::levels[l].ragged) continue;
      const int from = F::levels[l].from;
      cuts[l] = cut(F::levels[l], ids, F::levels[from].ragged ? &cuts[from] : nullptr);
      sums[l] += static_cast<index_type>(cuts[l].source.size());
    }
  }
  const auto windows = static_cast<index_type>(count);
  for (int l = 0; l < F::level_count; ++l)
    if (F::levels[l].ragged) positions[l] = (sums[l] + windows / 2) / windows;
  return positions;
}

/// The host finds the boundaries, which are a function of tokens. The positions of all texts at such a level lie one after
/// another, so nothing is computed that does not exist.
template <const auto& D, class Backend>
class level_cuts {
 public:
  using F = facts<D>;
  template <class T>
  using each_level = std::array<T, F::level_count>;

  const stream_shapes<D>& shapes() const { return shapes_; }
  std::span<const level_cut> views() const { return views_; }
  /// The boundaries of each text at a level that follows it.
  const std::vector<text_cuts>& of_texts(int l) const { return cuts_[l]; }

  /// Finds the boundaries of ids [B,T]; tokens after the end of a row are part of its last positions.
  void find(Backend& backend, view<const token, 2> ids) {
    shapes_ = mean_shapes<D>(ids.shape[0], ids.shape[1]);
    if constexpr (F::follows_text) find_boundaries(backend, ids, ids.shape[0], ids.shape[1]);
  }

 private:
  template <class T>
  using storage = typename Backend::template storage<T>;

  void find_boundaries(Backend& backend, view<const token, 2> ids, index_type batch, index_type tokens) {
    for (const int l : F::by_compression) {
      if (!F::levels[l].ragged) continue;
      const int from = F::levels[l].from;
      cuts_[l].clear();
      texts_[l].assign(1, 0);
      shapes_[l] = {.batch = 1};
      for (index_type b = 0; b < batch; ++b) {
        const std::span<const token> text(&ids(b, 0), static_cast<std::size_t>(tokens));
        const text_cuts* finer = F::levels[from].ragged ? &cuts_[from][static_cast<std::size_t>(b)] : nullptr;
        cuts_[l].push_back(cut(F::levels[l], text, finer));
        const auto count = static_cast<index_type>(cuts_[l].back().source.size());
        shapes_[l].positions += count;
        shapes_[l].longest = std::max(shapes_[l].longest, count);
        texts_[l].push_back(shapes_[l].positions);
      }
      // A power of two: so the rotary tables of many passes are the same.
      shapes_[l].longest = static_cast<index_type>(std::bit_ceil(static_cast<std::size_t>(shapes_[l].longest)));
    }
    host_.clear();
    for (int l = 0; l < F::level_count; ++l) {
      if (!F::levels[l].ragged) continue;
      add_rows(l, batch, tokens);
      if (F::levels[l].upsampling == upsampling_kind::by_offset) add_offsets(l, rows_of_source(l, batch, tokens));
    }
    const auto size = static_cast<index_type>(host_.size());
    if (ids_.size() < size) {
      ids_ = storage<token>();  // free the old memory first
      ids_ = storage<token>(size);
    }
    upload_tokens(backend, {host_.data(), {size}}, ids_.view().slice(0, size));
    const token* next = ids_.data();
    const auto take = [&](index_type count) {
      const view<const token, 1> own{next, {count}};
      next += count;
      return own;
    };
    for (int l = 0; l < F::level_count; ++l) {
      if (!F::levels[l].ragged) continue;
      const index_type rows = rows_of_source(l, batch, tokens);
      views_[l].starts = take(shapes_[l].positions);
      views_[l].newest = take(rows);
      views_[l].texts = texts_[l];
      if (F::levels[l].upsampling != upsampling_kind::by_offset) continue;
      for (auto* own : {&views_[l].order, &views_[l].newest_in_order, &views_[l].place}) *own = take(rows);
      views_[l].offsets = offsets_[l];
    }
  }
  /// Rows of the level that level `l` shortens.
  index_type rows_of_source(int l, index_type batch, index_type tokens) const {
    const int from = F::levels[l].from;
    return F::levels[from].ragged ? shapes_[from].positions : batch * F::levels[from].positions(tokens);
  }
  /// Adds the starts of level `l`, then the newest positions.
  void add_rows(int l, index_type batch, index_type tokens) {
    const int from = F::levels[l].from;
    const auto first_of_source = [&](index_type b) {
      return F::levels[from].ragged ? texts_[from][static_cast<std::size_t>(b)] : b * F::levels[from].positions(tokens);
    };
    for (index_type b = 0; b < batch; ++b)
      for (const index_type source : cuts_[l][static_cast<std::size_t>(b)].source)
        host_.push_back(static_cast<token>(first_of_source(b) + source));
    for (index_type b = 0; b < batch; ++b) {
      const std::vector<index_type>& source = cuts_[l][static_cast<std::size_t>(b)].source;
      const index_type count = first_of_source(b + 1) - first_of_source(b);
      std::size_t begun = 0;
      for (index_type row = 0; row < count; ++row) {
        const bool begins = begun < source.size() && source[begun] == row;
        if (begins) ++begun;
        const index_type newest = texts_[l][static_cast<std::size_t>(b)] + static_cast<index_type>(begun) - 1;
        const bool sees = begins || F::levels[l].upsampling != upsampling_kind::at_boundaries;
        host_.push_back(sees ? static_cast<token>(newest) : -1);
      }
    }
  }
  /// After the newest positions of level `l`, which were added last: their rows in the order of offsets.
  void add_offsets(int l, index_type rows) {
    const auto count = static_cast<std::size_t>(rows);
    const std::vector<token> newest(host_.end() - rows, host_.end());
    std::vector<std::size_t> offsets(count);
    offsets_[l].fill(0);
    for (std::size_t row = 0; row < count; ++row) {
      const bool begins = row == 0 || newest[row] != newest[row - 1];
      offsets[row] = begins ? 0 : std::min<std::size_t>(offsets[row - 1] + 1, upsample_offsets - 1);
      ++offsets_[l][offsets[row] + 1];
    }
    std::partial_sum(offsets_[l].begin(), offsets_[l].end(), offsets_[l].begin());
    auto next = offsets_[l];
    const std::size_t order = host_.size(), in_order = order + count, place = in_order + count;
    host_.resize(place + count);
    for (std::size_t row = 0; row < count; ++row) {
      const auto at = static_cast<std::size_t>(next[offsets[row]]++);
      host_[order + at] = static_cast<token>(row);
      host_[in_order + at] = newest[row];
      host_[place + row] = static_cast<token>(at);
    }
  }

  stream_shapes<D> shapes_{};
  each_level<std::vector<text_cuts>> cuts_;
  each_level<std::vector<index_type>> texts_;  // [B+1], where the positions of each text begin
  each_level<std::array<index_type, upsample_offsets + 1>> offsets_{};
  std::vector<token> host_;  // of each level the tokens that `level_cut` shows
  storage<token> ids_;       // the same on the backend
  each_level<level_cut> views_{};
};

}  // namespace strata
