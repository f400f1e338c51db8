// What a merge sees of the model besides `model_facts`: one view per level, and copies of the streams before the merge.
// Shapes: x_l [B,n_l,d_l] for every level.
#pragma once

#include <array>
#include <span>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

/// One view per level: the streams, or their gradients.
template <class S>
using level_streams = std::span<const std::type_identity_t<view<S, 3>>>;

/// The streams before the merge. Streams of receiving levels are copied; the others do not change.
struct streams_before_merge {
  each_level<tensor<3>> copies;

  constexpr void plan(activation_plan& plan, std::span<const level_facts> levels, index_type batch, index_type tokens) {
    if (!plan.training) return;  // only backward reads the copies
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

}  // namespace strata
