// The losses and the backward pass: the mirror of forward.hpp.
// Shapes: ids and labels [B,T] -> one number a loss; gradients add to the gradient memory.
// Source: docs/model.md.
#pragma once

#include <strata/model/forward.hpp>

namespace strata::inline STRATA_ABI {

/// Evaluates every loss whose weight is not 0 into `acts.loss`, 16 elements apart. With `gradients`, the logits become
/// their gradient. `acts.dembedding` and `acts.dtokens` become the gradients by the final embeddings and the token
/// embeddings. All gradients are times `scale`.
template <const auto& D, class Losses, class Backend, class S = typename Backend::scalar>
void evaluate_losses(const pass<Backend>& p, const training_layout<D, Losses>& acts, const Losses& losses,
                     const loss_parameters<Losses>& own, view<const token, 2> inputs, view<const token, 2> labels,
                     const loss_values<Losses>& weights, double scale, bool gradients) {
  loss_context<Backend> context{.p = p,
                                .inputs = inputs,
                                .labels = labels,
                                .logits = p.memory[acts.head.logits],
                                .tokens = p.memory[acts.tokens],
                                .gradients = gradients,
                                .ignore_index = losses.ignore_index};
  for (std::size_t l = 0; l < facts<D>::level_count; ++l) {
    context.embeddings[l] = p.memory[acts.embedding[l]];
    context.compressed[l] = p.memory[acts.compress[l].y];
    if (facts<D>::levels[l].learned_boundaries) context.boundary_probabilities[l] = p.memory[acts.boundaries[l].p];
  }
  if (gradients) {
    context.dtokens = p.memory[acts.dtokens];
    fill(p.backend, S{0}, context.dtokens.flat());
    for (std::size_t l = 0; l < facts<D>::level_count; ++l) {
      context.dembeddings[l] = p.memory[acts.dembedding[l]];
      fill(p.backend, S{0}, context.dembeddings[l].flat());
      if (!facts<D>::levels[l].learned_boundaries) continue;
      context.dboundary_probabilities[l] = p.memory[acts.boundaries[l].dp];
      fill(p.backend, S{0}, context.dboundary_probabilities[l].flat());
    }
  }
  const auto loss = p.memory[acts.loss];
  fill(p.backend, S{0}, loss);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto evaluate = [&]<std::size_t J>(std::integral_constant<std::size_t, J>) {
      // Cross-entropy always runs: it replaces the logits by their gradient.
      if (J != 0 && weights[J] == 0) return;
      losses.template at<J>().evaluate(context, std::get<J>(own), std::get<J>(acts.losses), weights[J] * scale,
                                       loss.slice(index_type{J} * 16, 1));
    };
    (evaluate(std::integral_constant<std::size_t, I>()), ...);
  }
  (std::make_index_sequence<Losses::count>());
}

/// Computes again, from the streams that enter layer `i`, what its backward pass reads. Overwrites the streams after
/// the layer: nothing needs them any more. So the merge stops before it adds to them.
template <const auto& D, class Backend>
void recompute_layer(const pass<Backend>& p, const activation_layout<D>& acts, const parameter_layout<D>& own, int i,
                     bool merge) {
  const auto stream = blocks_forward(p, acts, own, i);
  if (facts<D>::merges && merge)
    chosen_merge<D>.recompute(p, own.layers[i].merge, acts.layers[i].merge, show_to_merge(p, acts, i, stream));
}

/// The gradient of layer `i` through its merge. On entry `dstream` is that of the streams after it.
template <const auto& D, class Backend, class S = typename Backend::scalar>
void merge_backward(const pass<Backend>& p, const activation_layout<D>& acts, const parameter_layout<D>& own, int i,
                    const level_views<D, S>& dstream) {
  using F = facts<D>;
  level_views<D, S> dshown = dstream;
  for (std::size_t l = 0; l < dshown.size(); ++l) {
    if (!F::levels[l].ragged) continue;
    dshown[l] = p.memory[acts.dshown[l]];
    fill(p.backend, S{0}, dshown[l].flat());
    if (!F::levels[l].receives) continue;
    embed_backward(p.backend, p.cuts[l].starts, dstream[l].rows(), dshown[l].rows());
    fill(p.backend, S{0}, dstream[l].flat());
  }
  chosen_merge<D>.backward(p, own.layers[i].merge, acts.layers[i].merge,
                           shown_to_merge(p, acts, i, streams_after(p, acts, i)), dshown);
  for (std::size_t l = 0; l < dshown.size(); ++l)
    if (F::levels[l].ragged) embed_backward(p.backend, p.cuts[l].newest, dshown[l].rows(), dstream[l].rows());
}

/// Call it after `forward` and `evaluate_losses` with gradients, on the same memory.
template <const auto& D, class Backend, class S = typename Backend::scalar>
void backward(const pass<Backend>& p, const activation_layout<D>& acts, const parameter_layout<D>& own,
              view<const token, 2> ids, bool merge) {
  using F = facts<D>;
  level_views<D, S> dembedding, dstream;
  for (int l = 0; l < F::level_count; ++l) {
    dembedding[l] = p.memory[acts.dembedding[l]];
    dstream[l] = p.memory[acts.dstream[l]];
  }

  head_backward(p, F::levels, F::predicting_level, own.head, acts.head, final_embeddings(p, acts), dembedding);
  const auto leave_level_backward = [&](int l) {
    norm_backward(p, own.final_norm[l], acts.final_norm[l], p.memory[acts.last_stream[l]], 0, dembedding[l],
                  dstream[l]);
  };
  for (int l = 0; l < F::level_count; ++l) {
    fill(p.backend, S{0}, dstream[l].flat());
    if (!F::leaves_early(l)) leave_level_backward(l);
  }
  const auto dtokens = p.memory[acts.dtokens];
  for (int i = F::depth - 1; i >= 0; --i) {
    // The last layer's activations are still in memory.
    if (acts.use == activation_use::recomputing && i < F::depth - 1) recompute_layer(p, acts, own, i, merge);
    if (F::merges && merge) merge_backward(p, acts, own, i, dstream);
    for (int l = 0; l < F::level_count; ++l)
      if (F::runs(i, l))
        block_backward(p.at_level(l), F::levels[l], own.layers[i].blocks[l], acts.layers[i].blocks[l],
                       p.memory.optional(acts.rotary[l]), dstream[l]);
    for (int l = 0; l < F::level_count; ++l) {
      const bool learned = F::levels[l].learned_boundaries, early = F::leaves_early(l);
      if (F::upsample_layer(l) != i || (!merge && !learned)) continue;
      if (learned)
        smoothed_upsample_backward(p, l, own.upsample[l], acts.upsample[l], own.boundaries[l], acts.boundaries[l],
                                   merge, dstream[F::levels[l].from], dembedding[l]);
      else
        upsample_backward(p, F::levels[l], own.upsample[l], acts.upsample[l], dstream[F::levels[l].from],
                          early ? dembedding[l] : dstream[l], l);
      if (early) leave_level_backward(l);
    }
    for (int l = 0; l < F::level_count; ++l) {
      if (F::first_layer(l) != i) continue;
      const auto dcompressed = dembedding[l];  // free by now
      fill(p.backend, S{0}, dcompressed.flat());
      norm_backward(p, own.embedding_norm[l], acts.embedding_norm[l], p.memory[acts.compress[l].y], 0, dstream[l],
                    dcompressed);
      ngrams_backward(p, F::ngrams, l, dcompressed.rows());
      compress_backward(p, F::levels[l], own.compress[l], acts.compress[l], p.memory[acts.source[l]], dcompressed,
                        F::levels[l].from >= 0 ? dstream[F::levels[l].from] : dtokens, l);
      if (F::levels[l].learned_boundaries)
        boundaries_backward(p, F::levels[l].from, own.boundaries[l], acts.boundaries[l], p.memory[acts.source[l]],
                            dstream[F::levels[l].from]);
    }
  }
  dropout_in_place(p, acts.embedding_dropout, dtokens.flat());
  ngrams_backward(p, F::ngrams, -1, dtokens.rows());
  embedding_backward(p, own.embedding, ids.flat(), dtokens.rows());
}

}  // namespace strata
