// Compression by attention: each position of a level attends to the last c tokens, with a query from its own token.
// Shapes: tokens [B,T,D] -> [B,n,d], n = ceil(T / s).
// Source: docs/model.md.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/attention_resampling.hpp>

namespace strata::inline STRATA_ABI {

struct attention_pooling_activations {
  attention_resampling_activations resampling;
  tensor<3> standing;  // scratch [B,n,D], token i s of each position i; in backward its gradient
};

constexpr cross_attention_shape shape_of_attention_pooling(const level_facts& level, index_type batch,
                                                           index_type tokens) {
  return {batch,         level.positions_of_source(tokens), level.source_stride, tokens, 1, level.heads, level.head_dim,
          level.shortens};
}
constexpr resampled_widths widths_of_attention_pooling(const level_facts& level, index_type dim) {
  return {.query = dim, .source = dim, .out = level.dim};
}

template <class Table, class Name>
constexpr attention_resampling_parameters declare_attention_pooling(Table& table, const Name& prefix,
                                                                    const level_facts& level, index_type dim) {
  return declare_attention_resampling(table, prefix, shape_of_attention_pooling(level, 1, 1),
                                      widths_of_attention_pooling(level, dim));
}

constexpr attention_pooling_activations plan_attention_pooling(activation_plan& plan, const level_facts& level,
                                                               const tensor<3>& tokens) {
  const auto [batch, length, dim] = tokens.shape;
  attention_pooling_activations own;
  memory_plan scratch;
  own.resampling =
      plan_attention_resampling(plan, plan.memory, scratch, shape_of_attention_pooling(level, batch, length));
  own.standing = scratch.add<3>({batch, level.positions_of_source(length), dim});
  plan.scratch_used(scratch);
  return own;
}

/// Token i s of each position i, [B n,D].
template <class Backend, class S = typename Backend::scalar>
view<S, 2> attention_pooling_queries(const pass<Backend>& p, const level_facts& level,
                                     const attention_pooling_activations& acts, input<S, 3> tokens) {
  const auto standing = p.scratch[acts.standing];
  unfold(p.backend, tokens, 1, level.source_stride, index_type{0}, standing);
  return standing.rows();
}

template <class Backend, class S = typename Backend::scalar>
void attention_pooling_forward(const pass<Backend>& p, const level_facts& level,
                               const attention_resampling_parameters& own, const attention_pooling_activations& acts,
                               input<S, 3> tokens, output<S, 3> y) {
  attention_resampling_forward(p, shape_of_attention_pooling(level, tokens.shape[0], tokens.shape[1]), own,
                               acts.resampling, attention_pooling_queries(p, level, acts, tokens), tokens.rows(),
                               y.rows(), update::replace);
}

/// Token number `position` of each of B texts: newest [B,1,D], y [B,1,d]. `ring` [B,c,2 H E] holds the keys and values
/// of the last c tokens. y is computed only if the level has a position at this token.
template <class Backend, class S = typename Backend::scalar>
void attention_pooling_step(const pass<Backend>& p, const level_facts& level,
                            const attention_resampling_parameters& own, const attention_pooling_activations& acts,
                            index_type position, output<S, 3> ring, input<S, 3> newest, output<S, 3> y) {
  attention_resampling_keep(p, own, acts.resampling, position, newest.rows(), ring);
  if (position % level.source_stride == 0)
    attention_resampling_step(p, shape_of_attention_pooling(level, newest.shape[0], 1), own, acts.resampling,
                              position + 1, newest.rows(), ring, y.rows(), update::replace);
}

/// Adds to `dtokens`.
template <class Backend, class S = typename Backend::scalar>
void attention_pooling_backward(const pass<Backend>& p, const level_facts& level,
                                const attention_resampling_parameters& own, const attention_pooling_activations& acts,
                                input<S, 3> tokens, input<S, 3> dy, output<S, 3> dtokens) {
  attention_resampling_backward(p, shape_of_attention_pooling(level, tokens.shape[0], tokens.shape[1]), own,
                                acts.resampling, tokens.rows(), dy.rows(), dtokens.rows());
  const auto standing = attention_pooling_queries(p, level, acts, tokens), dstanding = standing;
  attention_resampling_backward_queries(p, own, acts.resampling, standing, dstanding, update::replace);
  unfold_backward(p.backend, p.scratch[acts.standing], 1, level.source_stride, index_type{0}, dtokens);
}

}  // namespace strata
