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

/// The positions of a level with a stride, in a text of so many tokens.
inline text_cuts positions_by_stride(const level_facts& level, index_type tokens) {
  text_cuts own;
  for (index_type t = 0; t < tokens; t += level.stride) own.tokens.push_back(t);
  return own;
}

/// Cuts a text at level `level`, which shortens a level with the positions `finer`. `begins_at(i)` says whether a position
/// begins at position `i` of the finer level because the model decides so.
template <class BeginsAt>
text_cuts cut(const level_facts& level, std::span<const token> text, const text_cuts& finer, BeginsAt begins_at) {
  text_cuts own;
  std::size_t looked_at = 0;  // tokens up to here
  bool held = false;
  const auto ended = [&](std::size_t token_index) { return text[token_index] == no_token; };
  const auto look_up_to = [&](std::size_t end) {
    for (; level.rule != nullptr && looked_at < end && !ended(looked_at); ++looked_at)
      held = held || rule_holds(*level.rule, text.first(looked_at + 1));
  };
  for (std::size_t i = 0; i < finer.tokens.size(); ++i) {
    const index_type t = finer.tokens[i];
    look_up_to(static_cast<std::size_t>(t) + 1);
    const bool by_model = level.learned_boundaries && !ended(static_cast<std::size_t>(t)) && begins_at(i);
    if (i != 0 && !held && !level.begins_by_stride(static_cast<index_type>(i)) && !by_model) continue;
    held = false;
    own.source.push_back(static_cast<index_type>(i));
    own.tokens.push_back(t);
  }
  look_up_to(text.size());
  own.pending = held;
  return own;
}
/// The same where a rule or a stride decides.
inline text_cuts cut(const level_facts& level, std::span<const token> text, const text_cuts& finer) {
  return cut(level, text, finer, [](std::size_t) { return false; });
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
/// Of levels whose boundaries are learned, as many as their strides say.
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
      if (!F::levels[l].ragged)
        cuts[l] = positions_by_stride(F::levels[l], length);
      else if (F::group(l) == 0)
        cuts[l] =
            cut(F::levels[l], ids, F::levels[l].from < 0 ? positions_by_stride({}, length) : cuts[F::levels[l].from]);
      sums[l] += static_cast<index_type>(cuts[l].tokens.size());
    }
  }
  const auto windows = static_cast<index_type>(count);
  for (int l = 0; l < F::level_count; ++l)
    if (F::levels[l].ragged && F::group(l) == 0) positions[l] = (sums[l] + windows / 2) / windows;
  return positions;
}

/// The host finds the boundaries of a pass: those that are a function of tokens before it, learned ones while it runs. The
/// positions of all texts at such a level lie one after another, so nothing is computed that does not exist.
template <const auto& D, class Backend>
class level_cuts {
 public:
  using F = facts<D>;
  template <class T>
  using each_level = std::array<T, F::level_count>;

  /// Of levels that are not decided yet, those of a mean text.
  const stream_shapes<D>& shapes() const { return shapes_; }
  std::span<const level_cut> views() const { return views_; }
  /// The boundaries of each text at a level that follows it.
  const std::vector<text_cuts>& of_texts(int l) const { return cuts_[l]; }

  /// Finds the boundaries of ids [B,T] that are a function of tokens. After the end of a row no rule begins a position, nor
  /// does the model.
  void find(Backend& backend, view<const token, 2> ids) {
    shapes_ = mean_shapes<D>(ids.shape[0], ids.shape[1]);
    if constexpr (F::follows_text) {
      batch_ = ids.shape[0];
      tokens_ = ids.shape[1];
      every_token_ = positions_by_stride({}, tokens_);
      ids_.assign(ids.data, ids.data + ids.size());
      for (const int l : F::by_compression) {
        if (!F::levels[l].ragged)
          cuts_[l].assign(static_cast<std::size_t>(batch_), positions_by_stride(F::levels[l], tokens_));
        else if (F::group(l) == 0)
          find(backend, l, {});
      }
    }
  }
  /// Decides level `l` by the probabilities of boundaries at all rows of its finer level, and all levels whose boundaries
  /// follow from it.
  void decide(Backend& backend, int l, std::span<const typename Backend::scalar> probabilities) {
    for (const int other : F::by_compression)
      if (F::levels[other].ragged && F::group(other) == F::group(l))
        find(backend, other, other == l ? probabilities : std::span<const typename Backend::scalar>());
  }

 private:
  template <class T>
  using storage = typename Backend::template storage<T>;
  /// What `level_cut` shows of one level.
  struct shown {
    std::vector<index_type> texts;  // [B+1], where the positions of each text begin
    std::array<index_type, upsample_offsets + 1> offsets{};
    std::vector<token> host;  // starts, newest positions, and with `by_offset` three lists more
    storage<token> memory;    // the same on the backend
  };

  /// Where the rows of text `b` begin at level `l`; -1 stands for the tokens.
  index_type first_row(int l, index_type b) const {
    if (l < 0) return b * tokens_;
    if (F::levels[l].ragged) return shown_[l].texts[static_cast<std::size_t>(b)];
    return b * F::levels[l].positions(tokens_);
  }
  void find(Backend& backend, int l, std::span<const typename Backend::scalar> probabilities) {
    const int from = F::levels[l].from;
    shown& own = shown_[l];
    cuts_[l].clear();
    own.texts.assign(1, 0);
    shapes_[l] = {.batch = 1};
    for (index_type b = 0; b < batch_; ++b) {
      const std::span<const token> text(ids_.data() + b * tokens_, static_cast<std::size_t>(tokens_));
      const auto first = static_cast<std::size_t>(first_row(from, b));
      cuts_[l].push_back(cut(F::levels[l], text, from < 0 ? every_token_ : cuts_[from][static_cast<std::size_t>(b)],
                             [&](std::size_t i) { return begins_position(probabilities[first + i]); }));
      const auto count = static_cast<index_type>(cuts_[l].back().source.size());
      shapes_[l].positions += count;
      shapes_[l].longest = std::max(shapes_[l].longest, count);
      own.texts.push_back(shapes_[l].positions);
    }
    // A power of two: so the rotary tables of many passes are the same.
    shapes_[l].longest = static_cast<index_type>(std::bit_ceil(static_cast<std::size_t>(shapes_[l].longest)));
    own.host.clear();
    add_rows(l);
    const index_type rows = first_row(from, batch_);
    if (F::levels[l].upsampling == upsampling_kind::by_offset) add_offsets(l, rows);
    show(backend, l, rows);
  }
  void show(Backend& backend, int l, index_type rows) {
    shown& own = shown_[l];
    const auto size = static_cast<index_type>(own.host.size());
    if (own.memory.size() < size) {
      own.memory = storage<token>();  // free the old memory first
      own.memory = storage<token>(size);
    }
    upload_tokens(backend, {own.host.data(), {size}}, own.memory.view().slice(0, size));
    const token* next = own.memory.data();
    const auto take = [&](index_type count) {
      const view<const token, 1> part{next, {count}};
      next += count;
      return part;
    };
    views_[l].starts = take(shapes_[l].positions);
    views_[l].newest = take(rows);
    views_[l].texts = own.texts;
    if (F::levels[l].upsampling != upsampling_kind::by_offset) return;
    for (auto* part : {&views_[l].order, &views_[l].newest_in_order, &views_[l].place}) *part = take(rows);
    views_[l].offsets = own.offsets;
  }
  /// Adds the starts of level `l`, then the newest positions.
  void add_rows(int l) {
    const int from = F::levels[l].from;
    std::vector<token>& host = shown_[l].host;
    for (index_type b = 0; b < batch_; ++b)
      for (const index_type source : cuts_[l][static_cast<std::size_t>(b)].source)
        host.push_back(static_cast<token>(first_row(from, b) + source));
    for (index_type b = 0; b < batch_; ++b) {
      const std::vector<index_type>& source = cuts_[l][static_cast<std::size_t>(b)].source;
      const index_type count = first_row(from, b + 1) - first_row(from, b);
      std::size_t begun = 0;
      for (index_type row = 0; row < count; ++row) {
        const bool begins = begun < source.size() && source[begun] == row;
        if (begins) ++begun;
        const bool sees = begins || F::levels[l].upsampling != upsampling_kind::at_boundaries;
        host.push_back(sees ? static_cast<token>(first_row(l, b) + static_cast<index_type>(begun) - 1) : -1);
      }
    }
  }
  /// After the newest positions of level `l`, which were added last: their rows in the order of offsets.
  void add_offsets(int l, index_type rows) {
    std::vector<token>& host = shown_[l].host;
    auto& first = shown_[l].offsets;
    const auto count = static_cast<std::size_t>(rows);
    const std::vector<token> newest(host.end() - rows, host.end());
    std::vector<std::size_t> offsets(count);
    first.fill(0);
    for (std::size_t row = 0; row < count; ++row) {
      const bool begins = row == 0 || newest[row] != newest[row - 1];
      offsets[row] = begins ? 0 : std::min<std::size_t>(offsets[row - 1] + 1, upsample_offsets - 1);
      ++first[offsets[row] + 1];
    }
    std::partial_sum(first.begin(), first.end(), first.begin());
    auto next = first;
    const std::size_t order = host.size(), in_order = order + count, place = in_order + count;
    host.resize(place + count);
    for (std::size_t row = 0; row < count; ++row) {
      const auto at = static_cast<std::size_t>(next[offsets[row]]++);
      host[order + at] = static_cast<token>(row);
      host[in_order + at] = newest[row];
      host[place + row] = static_cast<token>(at);
    }
  }

  index_type batch_ = 0, tokens_ = 0;
  std::vector<token> ids_;  // [B,T]
  text_cuts every_token_;
  stream_shapes<D> shapes_{};
  each_level<std::vector<text_cuts>> cuts_;
  each_level<shown> shown_;
  each_level<level_cut> views_{};
};

}  // namespace strata
