// What a merge sees of the model: the levels, which of them receive, and one view a level; and what a merge that needs
// nothing special need not say.
// Shapes: x_l [B,n_l,d_l] for every level.
// Source: own.
#pragma once

#include <span>
#include <string>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata {

/// One view a level: the streams, or their gradients.
template <class S>
using level_streams = std::span<const std::type_identity_t<view<S, 3>>>;

/// Base of every merge. docs/extending.md says what a merge has beside it.
struct merge_of_levels {
  std::span<const level_facts> levels;

  // What of the cache of a generator is a merge's own: nothing, here.
  struct cache {};
  constexpr cache plan_cache(memory_plan&, index /*batch*/) const { return {}; }
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
  constexpr index concatenated_dim() const { return levels.back().first_channel + levels.back().dim; }
  /// Whether level `l` receives at token `position`, where a strided level may have no position.
  constexpr bool receives_at(std::size_t l, index position) const {
    return levels[l].receives && position % levels[l].stride == 0;
  }
  /// The only receiving level where it has all positions, to which a result may be added straight, or -1.
  constexpr int straight_onto() const {
    int only = -1;
    for (std::size_t l = 0; l < levels.size(); ++l) {
      if (!levels[l].receives) continue;
      if (only >= 0 || levels[l].stride > 1) return -1;
      only = static_cast<int>(l);
    }
    return only;
  }
};

}  // namespace strata
