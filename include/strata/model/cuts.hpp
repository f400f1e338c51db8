// Where the texts of a pass are cut: the positions of levels whose boundaries follow the text.
// Shapes: per level l, starts [B n] and newest [B n'], n' positions of the level that it shortens.
// Source: docs/model.md, "Boundaries".
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
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

/// The host finds the boundaries, which are a function of tokens. Texts with fewer positions than the longest are padded
/// at their ends: no position attends to what comes later, and nothing reads the padding.
template <const auto& D, class Backend>
class level_cuts {
 public:
  using F = facts<D>;
  template <class T>
  using each_level = std::array<T, F::level_count>;
  static constexpr bool any = F::follows_text;

  /// Positions of every level in a pass over [batch, tokens], with the padding.
  const each_level<index_type>& positions() const { return positions_; }
  std::span<const level_cut> views() const { return views_; }
  /// The boundaries of each text at a level that follows it.
  const std::vector<text_cuts>& of_texts(int l) const { return cuts_[l]; }
  /// Positions of every level without padding, in all texts.
  const each_level<index_type>& counted() const { return counted_; }

  /// Finds the boundaries of ids [B,T]; tokens after the end of a row are part of its last positions.
  void find(Backend& backend, view<const token, 2> ids) {
    const index_type batch = ids.shape[0], tokens = ids.shape[1];
    for (int l = 0; l < F::level_count; ++l) {
      positions_[l] = F::levels[l].positions(tokens);
      counted_[l] = batch * positions_[l];
    }
    if constexpr (any) find_boundaries(backend, ids, batch, tokens);
  }

 private:
  template <class T>
  using storage = typename Backend::template storage<T>;

  void find_boundaries(Backend& backend, view<const token, 2> ids, index_type batch, index_type tokens) {
    auto& cuts = cuts_;
    for (auto& each : cuts) each.clear();
    for (const int l : F::by_compression) {
      if (!F::levels[l].ragged) continue;
      const int from = F::levels[l].from;
      positions_[l] = counted_[l] = 0;
      for (index_type b = 0; b < batch; ++b) {
        const std::span<const token> text(&ids(b, 0), static_cast<std::size_t>(tokens));
        const text_cuts* finer = F::levels[from].ragged ? &cuts[from][static_cast<std::size_t>(b)] : nullptr;
        cuts[l].push_back(cut(F::levels[l], text, finer));
        const auto count = static_cast<index_type>(cuts[l].back().source.size());
        positions_[l] = std::max(positions_[l], count);
        counted_[l] += count;
      }
    }
    host_.clear();
    each_level<std::size_t> begins{};
    for (int l = 0; l < F::level_count; ++l) {
      if (!F::levels[l].ragged) continue;
      begins[l] = host_.size();
      add_starts(cuts[l], positions_[l], positions_[F::levels[l].from]);
      add_newest(cuts[l], positions_[l], positions_[F::levels[l].from]);
    }
    const auto size = static_cast<index_type>(host_.size());
    if (ids_.size() < size) {
      ids_ = storage<token>();  // free the old memory first
      ids_ = storage<token>(size);
    }
    upload_tokens(backend, {host_.data(), {size}}, ids_.view().slice(0, size));
    for (int l = 0; l < F::level_count; ++l) {
      if (!F::levels[l].ragged) continue;
      const token* const first = ids_.data() + begins[l];
      const index_type starts = batch * positions_[l], newest = batch * positions_[F::levels[l].from];
      views_[l] = {{first, {starts}}, {first + starts, {newest}}};
    }
  }
  /// For each position the row of the finer level at which it begins; -1 for padding.
  void add_starts(const std::vector<text_cuts>& cuts, index_type positions, index_type finer) {
    for (std::size_t b = 0; b < cuts.size(); ++b)
      for (std::size_t i = 0; i < static_cast<std::size_t>(positions); ++i)
        host_.push_back(i < cuts[b].source.size()
                            ? static_cast<token>(static_cast<index_type>(b) * finer + cuts[b].source[i])
                            : -1);
  }
  /// For each position of the finer level the row of the newest position that it sees.
  void add_newest(const std::vector<text_cuts>& cuts, index_type positions, index_type finer) {
    for (std::size_t b = 0; b < cuts.size(); ++b) {
      std::size_t next = 0;
      for (index_type t = 0; t < finer; ++t) {
        if (next < cuts[b].source.size() && cuts[b].source[next] == t) ++next;
        host_.push_back(static_cast<token>(static_cast<index_type>(b) * positions + static_cast<index_type>(next) - 1));
      }
    }
  }

  each_level<index_type> positions_{}, counted_{};
  each_level<std::vector<text_cuts>> cuts_;
  std::vector<token> host_;  // of each level its starts, then its newest
  storage<token> ids_;       // the same on the backend
  each_level<level_cut> views_{};
};

}  // namespace strata
