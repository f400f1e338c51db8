// Which rows of n-gram tables a pass looks up, and the gradients of these rows alone.
// Shapes: per table, rows [B n] of a pass; gradient [slots, d] of the rows since gradients were cleared.
// Source: docs/model.md, "N-grams".
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <strata/layers/ngrams.hpp>

namespace strata::inline STRATA_ABI {

/// A row is a function of tokens, so the host finds it. Each row that passes with gradients look up gets a slot, in the
/// order of first use: the work and the memory of a step depend on its batch, not on the rows of a table.
template <const auto& D, class Backend>
class ngram_lookups {
 public:
  using scalar = typename Backend::scalar;
  using F = facts<D>;
  static constexpr int count = static_cast<int>(F::ngrams.size());
  template <class T>
  using each_table = std::array<T, F::ngrams.size()>;

  /// The rows of one table that have a gradient.
  struct touched {
    view<const token, 1> rows;       ///< [slots]; -1 for slots that are not used yet
    view<const scalar, 2> gradient;  ///< [slots, d]; 0 for slots that are not used yet
  };

  /// Makes room for passes over [batch, tokens]. Throws before anything changes.
  void reserve(Backend& backend, index_type batch, index_type tokens, bool gradients) {
    if constexpr (count > 0) make_room(backend, batch, tokens, gradients);
  }
  /// Finds the rows of the first `tokens` columns of ids [B,T]. With `gradients` it also gives each a slot. Returns
  /// whether memory has moved.
  bool find(Backend& backend, view<const token, 2> ids, index_type tokens, bool gradients) {
    if constexpr (count > 0) return find_rows(backend, ids, tokens, gradients);
    return false;
  }
  /// What the last `find` found.
  std::span<const ngram_lookup<scalar>> views() const { return views_; }

  void clear_gradients(Backend& backend) {
    if constexpr (count > 0) forget_rows(backend);
  }
  /// The gradients of all tables [N], with zeros between them.
  view<const scalar, 1> gradients() const { return gradient_.view(); }
  touched touched_rows(int k) const {
    return {{touched_rows_.data() + first_slot(k), {capacity_[k]}},
            tensor_memory<const scalar>{gradient_.data()}[gradients_of_[k]]};
  }
  /// The same rows on the host, in the order of their slots.
  const std::vector<token>& touched_on_host(int k) const { return touched_[k]; }

 private:
  template <class T>
  using storage = typename Backend::template storage<T>;

  // Models without tables instantiate none of these.
  void make_room(Backend& backend, index_type batch, index_type tokens, bool gradients) {
    const index_type needed = F::ngram_places(batch, tokens);
    host_.resize(static_cast<std::size_t>(gradients ? 2 * needed : needed));
    if (tokens_.size() < static_cast<index_type>(host_.size())) {
      tokens_ = storage<token>();  // free the old memory first
      tokens_ = storage<token>(static_cast<index_type>(host_.size()));
    }
    if (!gradients) return;
    each_table<index_type> capacity = capacity_;
    for (int k = 0; k < count; ++k) {
      capacity[k] = std::max(capacity[k], F::ngrams[k].slots(batch, tokens));
      slot_of_[k].resize(static_cast<std::size_t>(F::ngrams[k].rows), -1);
    }
    grow(backend, capacity);
  }

  bool find_rows(Backend& backend, view<const token, 2> ids, index_type tokens, bool gradients) {
    const index_type batch = ids.shape[0];
    const std::span<token> rows(host_.data(), static_cast<std::size_t>(F::ngram_places(batch, tokens)));
    auto next = rows.begin();
    for (int k = 0; k < count; ++k)
      for (index_type b = 0; b < batch; ++b) {
        const auto positions = static_cast<std::ptrdiff_t>(F::ngrams[k].positions(tokens));
        find_ngram_rows(F::ngrams[k], F::vocabulary, {&ids(b, 0), static_cast<std::size_t>(tokens)}, 0,
                        {next, static_cast<std::size_t>(positions)});
        next += positions;
      }
    const bool moved = gradients && assign_slots(backend, batch, tokens, rows);
    const index_type used = static_cast<index_type>(gradients ? 2 * rows.size() : rows.size());
    upload_tokens(backend, {host_.data(), {used}}, tokens_.view().slice(0, used));
    index_type at = 0;
    for (int k = 0; k < count; ++k) {
      const index_type own = batch * F::ngrams[k].positions(tokens);
      const token* const first = tokens_.data() + at;
      views_[k] = {{first, {own}}, {}, {}};
      if (gradients) views_[k] = {{first, {own}}, {first + rows.size(), {own}}, gradient_memory()[gradients_of_[k]]};
      at += own;
    }
    return moved;
  }
  void forget_rows(Backend& backend) {
    for (int k = 0; k < count; ++k) {
      for (const token row : touched_[k]) slot_of_[k][static_cast<std::size_t>(row)] = -1;
      touched_[k].clear();
      needed_[k] = 0;
    }
    fill(backend, scalar{0}, gradient_.view());
    upload_touched(backend);
  }

  tensor_memory<scalar> gradient_memory() { return {gradient_.data()}; }
  index_type first_slot(int k) const {
    index_type first = 0;
    for (int n = 0; n < k; ++n) first += capacity_[n];
    return first;
  }

  bool assign_slots(Backend& backend, index_type batch, index_type tokens, std::span<const token> rows) {
    std::size_t at = 0;
    each_table<index_type> capacity = capacity_;
    for (int k = 0; k < count; ++k) {
      const std::size_t end = at + static_cast<std::size_t>(batch * F::ngrams[k].positions(tokens));
      for (; at < end; ++at) {
        token& slot = host_[rows.size() + at] = -1;
        if (rows[at] < 0) continue;
        token& known = slot_of_[k][static_cast<std::size_t>(rows[at])];
        if (known < 0) {
          known = static_cast<token>(touched_[k].size());
          touched_[k].push_back(rows[at]);
        }
        slot = known;
      }
      needed_[k] = std::min(F::ngrams[k].rows, needed_[k] + F::ngrams[k].slots(batch, tokens));
      capacity[k] = std::max(capacity[k], needed_[k]);
    }
    const bool moved = grow(backend, capacity);
    upload_touched(backend);
    return moved;
  }

  /// Keeps all gradients. Returns whether memory has moved.
  bool grow(Backend& backend, const each_table<index_type>& capacity) {
    if (capacity == capacity_) return false;
    memory_plan plan;
    each_table<tensor<2>> planned;
    index_type all = 0;
    for (int k = 0; k < count; ++k) {
      planned[k] = plan.add<2>({capacity[k], F::ngrams[k].dim});
      touched_[k].reserve(static_cast<std::size_t>(capacity[k]));
      all += capacity[k];
    }
    storage<scalar> larger(plan.size());
    storage<token> rows(all);
    host_touched_.resize(static_cast<std::size_t>(all));
    for (int k = 0; k < count; ++k)
      if (capacity_[k] > 0)
        copy(backend, gradient_memory()[gradients_of_[k]].flat(),
             view<scalar, 1>{larger.data() + planned[k].offset, {capacity_[k] * F::ngrams[k].dim}});
    gradient_ = std::move(larger);
    touched_rows_ = std::move(rows);
    gradients_of_ = planned;
    capacity_ = capacity;
    upload_touched(backend);
    return true;
  }

  void upload_touched(Backend& backend) {
    std::ranges::fill(host_touched_, -1);
    for (int k = 0; k < count; ++k) std::ranges::copy(touched_[k], host_touched_.begin() + first_slot(k));
    upload_tokens(backend, {host_touched_.data(), {touched_rows_.size()}}, touched_rows_.view());
  }

  std::vector<token> host_;                 // rows of all tables, then slots
  storage<token> tokens_;                   // the same on the backend
  each_table<std::vector<token>> slot_of_;  // [rows of the table]; -1: none
  each_table<std::vector<token>> touched_;  // the row of each slot
  std::vector<token> host_touched_;
  storage<token> touched_rows_;  // [slots of all tables]
  // Slots that the passes since the last clearing may need at most, whatever their tokens: so memory moves in the first
  // step alone.
  each_table<index_type> needed_{};
  each_table<index_type> capacity_{};
  each_table<tensor<2>> gradients_of_{};
  storage<scalar> gradient_;
  each_table<ngram_lookup<scalar>> views_{};
};

}  // namespace strata
