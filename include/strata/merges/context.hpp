// What a merge sees of the model: the levels, which of them receive, and one view a level; and what a merge that needs
// nothing special need not say.
// Shapes: x_l [B,n_l,d_l] for every level.
// Source: own.
#pragma once

#include <array>
#include <span>
#include <string>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

/// One view a level: the streams, or their gradients.
template <class S>
using level_streams = std::span<const std::type_identity_t<view<S, 3>>>;

template <class T>
using each_level = std::array<T, most_levels>;

/// The streams as they were before the merge: copies of those that receive; the others do not change.
struct streams_before_merge {
  each_level<tensor<3>> copies;

  constexpr void plan(activation_plan& plan, std::span<const level_facts> levels, index_type batch, index_type tokens) {
    if (!plan.training) return;  // only backward reads them
    for (std::size_t l = 0; l < levels.size(); ++l)
      if (levels[l].receives) copies[l] = plan.memory.add<3>({batch, levels[l].positions(tokens), levels[l].dim});
  }
  template <class Backend, class S = typename Backend::scalar>
  void keep(const pass<Backend>& p, level_streams<S> x) const {
    for (std::size_t l = 0; l < x.size(); ++l)
      if (copies[l]) copy(p.backend, x[l].flat(), p.memory[copies[l]].flat());
  }
  template <class Backend, class S = typename Backend::scalar>
  view<S, 3> of(const pass<Backend>& p, std::size_t l, level_streams<S> after) const {
    return copies[l] ? p.memory[copies[l]] : after[l];
  }
};

/// Base of every merge. docs/extending.md says what a merge has beside it.
struct merge_of_levels {
  std::span<const level_facts> levels;

  // What of the cache of a generator is a merge's own: nothing, here.
  struct cache {};
  constexpr cache plan_cache(memory_plan&, index_type /*batch*/) const { return {}; }
  template <class Backend, class Activations, class S = typename Backend::scalar>
  void keep(const pass<Backend>&, const Activations&, const cache&, const tensor_memory<S>&) const {}

  /// Rules for descriptions that choose it, as sentences.
  template <class Config>
  static constexpr bool check() {
    return true;
  }
  /// Choices that change what it computes, for the description of a model.
  std::string options() const { return ""; }

  /// Widths of all levels together.
  constexpr index_type concatenated_dim() const { return levels.back().first_channel + levels.back().dim; }
  /// Whether level `l` receives at token `position`, where a strided level may have no position.
  constexpr bool receives_at(std::size_t l, index_type position) const {
    return levels[l].receives && position % levels[l].stride == 0;
  }
};

}  // namespace strata
