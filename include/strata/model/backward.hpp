// The losses and the backward pass: the mirror of forward.hpp.
// Shapes: ids and labels [B,T] -> one number a loss; gradients add to the gradient memory.
// Source: docs/model.md.
#pragma once

#include <strata/model/forward.hpp>

namespace strata::inline STRATA_ABI {

/// Evaluates every loss whose weight is not 0 into `acts.loss`, each 16 elements apart. With `gradients` the
/// logits turn into their gradient, and `acts.dembedding` and `acts.dtokens` receive what the losses alone give the final
/// embeddings and those of tokens, all times `scale`.
template <class Config, class Backend, class S = typename Backend::scalar>
void evaluate_losses(const pass<Backend>& p, const activation_layout<Config>& acts, view<const token, 2> inputs,
                     view<const token, 2> labels, const loss_values<Config>& weights, double scale, bool gradients) {
  loss_context<Config, Backend> context{
      p,  inputs, labels, p.memory[acts.head.logits], final_embeddings(p, acts), p.memory[acts.tokens], gradients,
      {}, {},     {}};
  for (int l = 0; l < facts<Config>::level_count; ++l) context.compressed[l] = p.memory[acts.compress[l].y];
  if (gradients) {
    context.dtokens = p.memory[acts.dtokens];
    fill(p.backend, S{0}, context.dtokens.flat());
    for (int l = 0; l < facts<Config>::level_count; ++l) {
      context.dembeddings[l] = p.memory[acts.dembedding[l]];
      fill(p.backend, S{0}, context.dembeddings[l].flat());
    }
  }
  const auto loss = p.memory[acts.loss];
  fill(p.backend, S{0}, loss);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto evaluate = [&]<std::size_t J>(std::integral_constant<std::size_t, J>) {
      // Cross-entropy always runs: it is what turns the logits into their gradient.
      if (J != 0 && weights[J] == 0) return;
      std::tuple_element_t<J, loss_list<Config>>::evaluate(context, std::get<J>(parameters<Config>::layout.losses),
                                                           std::get<J>(acts.losses), weights[J] * scale,
                                                           loss.slice(index_type{J} * 16, 1));
    };
    (evaluate(std::integral_constant<std::size_t, I>()), ...);
  }
  (std::make_index_sequence<loss_values<Config>::count>());
}

/// Computes anew what the backward pass of layer `i` reads, from the streams that enter the layer. Those that leave it are
/// overwritten: no one needs them any more, so the merge stops before it would add to them.
template <class Config, class Backend>
void recompute_layer(const pass<Backend>& p, const activation_layout<Config>& acts, int i, bool merge) {
  const auto stream = blocks_forward(p, acts, i);
  if (facts<Config>::merges && merge)
    chosen_merge<Config>.recompute(p, parameters<Config>::layout.layers[i].merge, acts.layers[i].merge, stream);
}

/// After `forward` and `evaluate_losses` with gradients, on the same memories.
template <class Config, class Backend, class S = typename Backend::scalar>
void backward(const pass<Backend>& p, const activation_layout<Config>& acts, view<const token, 2> ids, bool merge) {
  using F = facts<Config>;
  constexpr const parameter_layout<Config>& own = parameters<Config>::layout;
  level_views<S, Config> dembedding, dstream;
  for (int l = 0; l < F::level_count; ++l) {
    dembedding[l] = p.memory[acts.dembedding[l]];
    dstream[l] = p.memory[acts.dstream[l]];
  }

  head_backward(p, F::levels, F::predicting_level, own.head, acts.head, final_embeddings(p, acts), dembedding);
  for (int l = 0; l < F::level_count; ++l) {
    fill(p.backend, S{0}, dstream[l].flat());
    norm_backward(p, own.final_norm[l], acts.final_norm[l], p.memory[acts.last_stream[l]], 0, dembedding[l],
                  dstream[l]);
  }
  const auto dtokens = p.memory[acts.dtokens];
  for (int i = F::depth - 1; i >= 0; --i) {
    // Those of the last layer are still in place.
    if (acts.use == activation_use::recomputing && i < F::depth - 1) recompute_layer(p, acts, i, merge);
    if (F::merges && merge)
      chosen_merge<Config>.backward(p, own.layers[i].merge, acts.layers[i].merge, streams_after(p, acts, i), dstream);
    for (int l = 0; l < F::level_count; ++l)
      if (F::runs(i, l))
        block_backward(p, F::levels[l], own.layers[i].blocks[l], acts.layers[i].blocks[l],
                       p.memory.optional(acts.rotary[l]), dstream[l]);
    if (i == F::upsample_layer && merge)
      upsample_backward(p, F::levels[F::coarse], own.upsample, acts.upsample, dstream[F::fine], dstream[F::coarse]);
    for (int l = 0; l < F::level_count; ++l) {
      if (F::first_layer(l) != i) continue;
      const auto dcompressed = dembedding[l];  // free by now
      fill(p.backend, S{0}, dcompressed.flat());
      norm_backward(p, own.embedding_norm[l], acts.embedding_norm[l], p.memory[acts.compress[l].y], 0, dstream[l],
                    dcompressed);
      compress_backward(p, F::levels[l], own.compress[l], acts.compress[l], p.memory[acts.source[l]], dcompressed,
                        F::hourglass && l == F::coarse ? dstream[F::fine] : dtokens);
    }
  }
  dropout_in_place(p, acts.embedding_dropout, dtokens.flat());
  embedding_backward(p, own.embedding, ids.flat(), dtokens.rows());
}

}  // namespace strata
