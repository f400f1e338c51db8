// What a loss sees of the model: tokens, logits, the final embeddings of all levels, and where gradients go.
// Shapes: inputs, labels [B,T]; logits [B,T,V]; embeddings e_l [B,n_l,d_l].
// Source: docs/model.md.
#pragma once

#include <array>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata {

template <class Config, class Backend>
struct loss_context {
  using scalar = typename Backend::scalar;
  using embedding_views = std::array<view<scalar, 3>, facts<Config>::level_count>;
  const pass<Backend>& p;
  view<const token, 2> inputs, labels;
  view<scalar, 3> logits;  ///< with gradients, cross-entropy replaces them by their gradient
  embedding_views embeddings;
  embedding_views dembeddings;  ///< losses add to these; empty without gradients
  bool gradients = false;
};

/// FLOPs of a linear map of every compressed level's embeddings to `width(level)` numbers, in the forward pass.
template <class Config, class Width>
constexpr double linear_head_flops(index batch, index tokens, Width width) {
  double flops = 0;
  for (const level_facts& level : facts<Config>::levels)
    if (level.compressed())
      flops += 2.0 * static_cast<double>(batch * level.positions(tokens)) * level.dim * width(level);
  return flops;
}

}  // namespace strata
