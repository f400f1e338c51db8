// The forward pass: the map of the whole model, in the order in which data flows.
// Shapes: ids [B,T] -> logits [B,T,V], in the activation memory.
// Source: docs/model.md.
#pragma once

#include <strata/model/activations.hpp>
#include <strata/model/parameters.hpp>

namespace strata {

/// One view a level.
template <class S, class Config>
using level_views = std::array<view<S, 3>, facts<Config>::level_count>;

template <class Config, class Backend, class S = typename Backend::scalar>
level_views<S, Config> final_embeddings(const pass<Backend>& p, const activation_layout<Config>& acts) {
  level_views<S, Config> views;
  for (int l = 0; l < facts<Config>::level_count; ++l) views[l] = p.memory[acts.embedding[l]];
  return views;
}

/// What enters the first layer that runs on level `l`.
template <class Config, class Backend>
void enter_level(const pass<Backend>& p, const activation_layout<Config>& acts, int l,
                 const parameter_layout<Config>& own) {
  compress_forward(p, facts<Config>::levels[l], own.compress[l], acts.compress[l], p.memory[acts.source[l]]);
  norm_forward(p, own.embedding_norm[l], acts.embedding_norm[l], p.memory[acts.compress[l].y], 0,
               p.memory[acts.token_embedding[l]]);
}

/// The blocks of layer `i`; gives the streams that leave them.
template <class Config, class Backend, class S = typename Backend::scalar>
level_views<S, Config> blocks_forward(const pass<Backend>& p, const activation_layout<Config>& acts, int i,
                                      const parameter_layout<Config>& own = parameters<Config>::layout) {
  using F = facts<Config>;
  level_views<S, Config> stream;
  for (int l = 0; l < F::level_count; ++l) {
    if (!F::runs(i, l)) continue;
    block_forward(p, F::levels[l], own.layers[i].blocks[l], acts.layers[i].blocks[l],
                  p.memory.optional(acts.rotary[l]));
    stream[l] = p.memory[acts.layers[i].blocks[l].y];
  }
  return stream;
}

struct nothing_to_do {
  void operator()(int /*layer*/) const {}
};

/// Calls `after_blocks(i)` where the activations of the blocks of layer `i` are still there and the merge has not changed
/// what left them.
template <class Config, class Backend, class AfterBlocks = nothing_to_do, class S = typename Backend::scalar>
void forward(const pass<Backend>& p, const activation_layout<Config>& acts, view<const token, 2> ids, bool merge,
             const parameter_layout<Config>& own = parameters<Config>::layout, AfterBlocks after_blocks = {}) {
  using F = facts<Config>;
  const auto tokens = p.memory[acts.tokens];

  embedding_forward(p, own.embedding, ids.flat(), tokens.rows());
  dropout_in_place(p, acts.embedding_dropout, tokens.flat());
  for (int i = 0; i < F::depth; ++i) {
    for (int l = 0; l < F::level_count; ++l)
      if (F::first_layer(l) == i) enter_level(p, acts, l, own);
    if (i == F::upsample_layer) upsample_forward(p, F::levels[F::coarse].stride, own.upsample, acts.upsample, merge);
    const auto stream = blocks_forward(p, acts, i, own);
    after_blocks(i);
    if (F::merges && merge)
      merge_forward(p, facts_of_merge<F>(), F::levels, own.layers[i].merge, acts.layers[i].merge, stream);
  }
  for (int l = 0; l < F::level_count; ++l)
    norm_forward(p, own.final_norm[l], acts.final_norm[l], p.memory[acts.last_stream[l]], 0,
                 p.memory[acts.embedding[l]]);
  head_forward(p, F::levels, F::predicting_level, own.head, acts.head, final_embeddings(p, acts));
}

}  // namespace strata
