// What a loss sees of the model: tokens and their embeddings, logits, final embeddings of all levels, and gradients.
// Shapes: inputs, labels [B,T]; token embeddings [B,T,D]; logits [B,T,V]; embeddings e_l [B,n_l,d_l].
// Source: docs/model.md.
#pragma once

#include <cstddef>
#include <type_traits>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

inline constexpr token ignore_nothing = -1;  ///< `ignore_index`: every token counts in the losses

template <class Backend>
struct loss_context {
  using scalar = typename Backend::scalar;
  using embedding_views = each_level<view<scalar, 3>>;
  const pass<Backend>& p;
  view<const token, 2> inputs, labels;
  view<scalar, 3> logits;  ///< with gradients, cross-entropy replaces them by their gradient
  embedding_views embeddings = {};
  view<scalar, 3> tokens;  ///< token embeddings
  bool gradients = false;
  embedding_views dembeddings = {};     ///< losses add to these; empty without gradients
  view<scalar, 3> dtokens = {};         ///< losses add to this; empty without gradients
  embedding_views compressed = {};      ///< outputs of the levels' compressors, before the norm [B,n_l,d_l]
  token ignore_index = ignore_nothing;  ///< a token that no loss counts
  /// Of levels whose boundaries are learned, for each row of the finer level [B,n',1]; losses add to the gradients, which are
  /// empty without gradients.
  embedding_views boundary_probabilities = {}, dboundary_probabilities = {};
};

/// Adds the cross-entropy of targets [B,n,blocks]. `head` maps the final embeddings of level `l` to as many blocks of
/// logits. With `gradients`, adds the gradients too.
template <class Backend, class S = typename Backend::scalar>
void predict_blocks(const loss_context<Backend>& context, std::size_t l, const tensor<2>& head,
                    std::type_identity_t<view<S, 2>> logits, view<const token, 3> targets, double weight,
                    output<S, 1> loss) {
  const auto& p = context.p;
  const auto embedding = context.embeddings[l].rows();
  linear(p, embedding, head, {}, logits, update::replace);
  const auto blocks = logits.template reshape<2>({targets.size(), head.shape[0] / targets.shape[2]});
  cross_entropy(p.backend, blocks, targets.flat(), context.ignore_index, static_cast<S>(weight), loss,
                context.gradients ? blocks : view<S, 2>{});
  if (context.gradients) {
    linear_backward_weight(p.backend, logits, embedding, p.gradients[head], {});
    linear_backward_input(p.backend, logits, p.weights[head], context.dembeddings[l].rows(), update::add);
  }
}

/// FLOPs of a linear map of every compressed level's embeddings to `width(level)` numbers, in forward and backward.
template <class Width>
constexpr double linear_head_flops(const model_facts& model, index_type batch, index_type tokens, Width width) {
  double flops = 0;
  for (const level_facts& level : model.levels)
    if (level.compressed())
      flops += 3 * 2.0 * static_cast<double>(batch * level.positions(tokens)) * level.dim * width(level);
  return flops;
}

}  // namespace strata
