// The forward pass: the map of the whole model, in the order in which data flows.
// Shapes: ids [B,T] -> logits [B,T,V], in the activation memory.
// Source: docs/model.md.
#pragma once

#include <strata/model/activations.hpp>
#include <strata/model/parameters.hpp>

namespace strata::inline STRATA_ABI {

/// One view a level.
template <const auto& D, class S>
using level_views = std::array<view<S, 3>, facts<D>::level_count>;

template <const auto& D, class Backend, class S = typename Backend::scalar>
level_views<D, S> final_embeddings(const pass<Backend>& p, const activation_layout<D>& acts) {
  level_views<D, S> views;
  for (int l = 0; l < facts<D>::level_count; ++l) views[l] = p.memory[acts.embedding[l]];
  return views;
}

/// Computes the input of the first layer that runs on level `l`.
template <const auto& D, class Backend>
void enter_level(const pass<Backend>& p, const activation_layout<D>& acts, int l, const parameter_layout<D>& own) {
  compress_forward(p, facts<D>::levels[l], own.compress[l], acts.compress[l], p.memory[acts.source[l]], l);
  ngrams_forward(p, facts<D>::ngrams, l, own.ngrams, p.lookups, p.memory[acts.compress[l].y].rows());
  norm_forward(p, own.embedding_norm[l], acts.embedding_norm[l], p.memory[acts.compress[l].y], 0,
               p.memory[acts.token_embedding[l]]);
}

/// The final norm of level `l`.
template <const auto& D, class Backend>
void leave_level(const pass<Backend>& p, const activation_layout<D>& acts, int l, const parameter_layout<D>& own) {
  norm_forward(p, own.final_norm[l], acts.final_norm[l], p.memory[acts.last_stream[l]], 0, p.memory[acts.embedding[l]]);
}

/// The streams after layer `i`; empty for levels that it does not run on.
template <const auto& D, class Backend, class S = typename Backend::scalar>
level_views<D, S> streams_after(const pass<Backend>& p, const activation_layout<D>& acts, int i) {
  level_views<D, S> stream;
  for (int l = 0; l < facts<D>::level_count; ++l) stream[l] = p.memory.optional(acts.layers[i].blocks[l].y);
  return stream;
}

/// Runs the blocks of layer `i` and returns the streams after them.
template <const auto& D, class Backend, class S = typename Backend::scalar>
level_views<D, S> blocks_forward(const pass<Backend>& p, const activation_layout<D>& acts,
                                 const parameter_layout<D>& own, int i) {
  using F = facts<D>;
  for (int l = 0; l < F::level_count; ++l)
    if (F::runs(i, l))
      block_forward(p.at_level(l), F::levels[l], own.layers[i].blocks[l], acts.layers[i].blocks[l],
                    p.memory.optional(acts.rotary[l]));
  return streams_after(p, acts, i);
}

/// Does nothing: the model decides no boundaries.
struct no_decisions {
  void operator()(int /*level*/) const {}
};

/// What the merge after layer `i` sees: the streams, or of a ragged level at every token its newest position.
template <const auto& D, class Backend, class S = typename Backend::scalar>
level_views<D, S> shown_to_merge(const pass<Backend>& p, const activation_layout<D>& acts, int i,
                                 const level_views<D, S>& stream) {
  level_views<D, S> shown = stream;
  for (int l = 0; l < facts<D>::level_count; ++l)
    if (facts<D>::levels[l].ragged) shown[l] = p.memory[acts.layers[i].shown[l]];
  return shown;
}
template <const auto& D, class Backend, class S = typename Backend::scalar>
level_views<D, S> show_to_merge(const pass<Backend>& p, const activation_layout<D>& acts, int i,
                                const level_views<D, S>& stream) {
  const level_views<D, S> shown = shown_to_merge(p, acts, i, stream);
  for (std::size_t l = 0; l < shown.size(); ++l)
    if (facts<D>::levels[l].ragged)
      embed(p.backend, p.cuts[l].newest, stream[l].rows(), shown[l].rows(), update::replace);
  return shown;
}

/// An observer may read the activations of layer `i` after its blocks (before the merge changes their outputs) and
/// after the merge.
struct no_observer {
  void after_blocks(int /*layer*/) const {}
  void after_merge(int /*layer*/) const {}
};

/// Calls decide(l) when the probabilities of boundaries of level `l` are in memory. That places the level and all inside it:
/// it may change `p` and `acts`, but not what they say of other levels.
template <const auto& D, class Backend, class Observer = no_observer, class Decide = no_decisions>
void forward(const pass<Backend>& p, const activation_layout<D>& acts, const parameter_layout<D>& own,
             view<const token, 2> ids, bool merge, const Observer& observer = {}, Decide decide = {}) {
  using F = facts<D>;
  const auto tokens = p.memory[acts.tokens];  // not after the first decision, which may move memory
  embedding_forward(p, own.embedding, ids.flat(), tokens.rows());
  ngrams_forward(p, F::ngrams, -1, own.ngrams, p.lookups, tokens.rows());
  dropout_in_place(p, acts.embedding_dropout, tokens.flat());
  for (int i = 0; i < F::depth; ++i) {
    for (int l = 0; l < F::level_count; ++l) {
      if (F::first_layer(l) != i) continue;
      if (F::levels[l].learned_boundaries) {
        boundaries_forward(p, F::levels[l].from, own.boundaries[l], acts.boundaries[l], p.memory[acts.source[l]]);
        decide(l);
      }
      enter_level(p, acts, l, own);
    }
    for (int l = 0; l < F::level_count; ++l) {
      if (F::upsample_layer(l) != i) continue;
      if (F::leaves_early(l)) leave_level(p, acts, l, own);
      if (F::levels[l].learned_boundaries)
        smoothed_upsample_forward(p, l, own.upsample[l], acts.upsample[l], own.boundaries[l], acts.boundaries[l],
                                  merge);
      else
        upsample_forward(p, F::levels[l], own.upsample[l], acts.upsample[l], merge, l);
    }
    const auto stream = blocks_forward(p, acts, own, i);
    observer.after_blocks(i);
    if (F::merges && merge) {
      const auto shown = show_to_merge(p, acts, i, stream);
      chosen_merge<D>.forward(p, own.layers[i].merge, acts.layers[i].merge, shown);
      for (std::size_t l = 0; l < shown.size(); ++l)
        if (F::levels[l].ragged && F::levels[l].receives)
          embed(p.backend, p.cuts[l].starts, shown[l].rows(), stream[l].rows(), update::replace);
      observer.after_merge(i);
    }
  }
  for (int l = 0; l < F::level_count; ++l)
    if (!F::leaves_early(l)) leave_level(p, acts, l, own);
  head_forward(p, F::levels, F::predicting_level, own.head, acts.head, final_embeddings(p, acts));
}

}  // namespace strata
