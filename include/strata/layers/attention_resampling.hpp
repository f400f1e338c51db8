// Attention from one sequence to another: each query attends to the last source positions at or before it.
// Shapes: queries [B nq,D], source [B nk,D'] -> [B nq,d].
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct attention_resampling_parameters {
  tensor<2> to_query;      // [H E, D]
  tensor<2> to_key_value;  // [2 H E, D']
  tensor<2> bias;          // [H,span] by distance
  tensor<2> to_out;        // [d, H E]
  tensor<1> out_bias;      // [d]
};
struct attention_resampling_activations {
  tensor<2> query;                       // [B nq, H E]
  tensor<2> key_value;                   // [B nk, 2 H E]
  tensor<2> mixed;                       // [B nq, H E]
  tensor<3> log_sum_exp;                 // [B,H,nq]
  tensor<2> dquery, dkey_value, dmixed;  // scratch, as query, key_value and mixed
};

/// Widths of queries, source and output.
struct resampled_widths {
  index_type query = 0, source = 0, out = 0;
};

/// Of `shape`, only heads, head_dim and span matter. The bias is looked up, not multiplied, so no format packs it.
template <class Table, class Name>
constexpr attention_resampling_parameters declare_attention_resampling(Table& table, const Name& prefix,
                                                                       const cross_attention_shape& shape,
                                                                       const resampled_widths& widths) {
  const index_type inner = shape.dim();
  attention_resampling_parameters own;
  own.to_query =
      table.template add<2>(prefix + ".to_q.weight", {inner, widths.query}, linear_initialisation(widths.query));
  own.to_key_value =
      table.add_stacked(prefix + ".to_kv.weight", 2, {2 * inner, widths.source}, linear_initialisation(widths.source));
  own.bias = table.add_rows(prefix + ".distance_bias", {shape.heads, shape.span}, zeros);
  own.to_out = table.template add<2>(prefix + ".to_out.weight", {widths.out, inner}, linear_initialisation(inner));
  own.out_bias = table.template add<1>(prefix + ".to_out.bias", {widths.out}, linear_initialisation(inner));
  return own;
}

constexpr attention_resampling_activations plan_attention_resampling(const activation_plan& plan, memory_plan& memory,
                                                                     memory_plan& scratch,
                                                                     const cross_attention_shape& shape) {
  attention_resampling_activations own;
  own.query = memory.add<2>({shape.batch * shape.queries, shape.dim()});
  own.key_value = memory.add<2>({shape.batch * shape.keys, 2 * shape.dim()});
  own.mixed = memory.add<2>(own.query.shape);
  own.log_sum_exp = memory.add<3>({shape.batch, shape.heads, shape.queries});
  if (plan.training) {
    own.dquery = scratch.add<2>(own.query.shape);
    own.dkey_value = scratch.add<2>(own.key_value.shape);
    own.dmixed = scratch.add<2>(own.mixed.shape);
  }
  return own;
}

/// FLOPs of the linear maps: for one query, and for one source position.
constexpr double attention_resampling_query_flops(const cross_attention_shape& shape, const resampled_widths& widths) {
  return 2 * static_cast<double>(shape.dim() * (widths.query + widths.out));
}
constexpr double attention_resampling_source_flops(const cross_attention_shape& shape, const resampled_widths& widths) {
  return 4 * static_cast<double>(shape.dim() * widths.source);
}

/// y = or += the result for each query.
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_forward(const pass<Backend>& p, const cross_attention_shape& shape,
                                  const attention_resampling_parameters& own,
                                  const attention_resampling_activations& acts, input<S, 2> queries, input<S, 2> source,
                                  output<S, 2> y, update mode) {
  linear(p, queries, own.to_query, {}, p.memory[acts.query], update::replace);
  linear(p, source, own.to_key_value, {}, p.memory[acts.key_value], update::replace);
  cross_attention(p.backend, shape, p.memory[acts.query], p.memory[acts.key_value], p.weights[own.bias],
                  p.memory[acts.mixed], p.memory[acts.log_sum_exp], update::replace);
  linear(p, p.memory[acts.mixed], own.to_out, own.out_bias, y, mode);
}

/// Puts the keys and values of source position `position` of each of B texts, [B,D'], into `ring` [B,span,2 H E].
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_keep(const pass<Backend>& p, const attention_resampling_parameters& own,
                               const attention_resampling_activations& acts, index_type position, input<S, 2> source,
                               output<S, 3> ring) {
  linear(p, source, own.to_key_value, {}, p.memory[acts.key_value], update::replace);
  keep_row(p.backend, p.memory[acts.key_value], position, ring);
}

/// The same for the last source positions of an `attention_resampling_forward` from the start of the texts.
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_keep_last(const pass<Backend>& p, const attention_resampling_activations& acts,
                                    output<S, 3> ring) {
  const auto key_value = p.memory[acts.key_value];
  keep_last(p.backend, key_value.template reshape<3>({p.batch, key_value.shape[0] / p.batch, key_value.shape[1]}), 0, 1,
            0, ring);
}

/// One query of each of B texts: queries [B,D] -> y [B,d]. The ring holds the last of `count` source positions.
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_step(const pass<Backend>& p, const cross_attention_shape& shape,
                               const attention_resampling_parameters& own, const attention_resampling_activations& acts,
                               index_type count, input<S, 2> queries, input<S, 3> ring, output<S, 2> y, update mode) {
  linear(p, queries, own.to_query, {}, p.memory[acts.query], update::replace);
  cross_attention_step(p.backend, shape, count, p.memory[acts.query], ring, p.weights[own.bias], p.memory[acts.mixed],
                       p.memory[acts.log_sum_exp], update::replace);
  linear(p, p.memory[acts.mixed], own.to_out, own.out_bias, y, mode);
}

/// Adds to `dsource`. Leaves the gradient of the mapped queries in `dquery`, for
/// `attention_resampling_backward_queries`.
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_backward(const pass<Backend>& p, const cross_attention_shape& shape,
                                   const attention_resampling_parameters& own,
                                   const attention_resampling_activations& acts, input<S, 2> source, input<S, 2> dy,
                                   output<S, 2> dsource) {
  const auto dquery = p.scratch[acts.dquery], dkey_value = p.scratch[acts.dkey_value], dmixed = p.scratch[acts.dmixed];
  linear_backward_weight(p.backend, dy, p.memory[acts.mixed], p.gradients[own.to_out], p.gradients[own.out_bias]);
  linear_backward_input(p.backend, dy, p.weights[own.to_out], dmixed, update::replace);
  fill(p.backend, S{0}, dquery.flat());
  fill(p.backend, S{0}, dkey_value.flat());
  cross_attention_backward(p.backend, shape, p.memory[acts.query], p.memory[acts.key_value], p.weights[own.bias],
                           p.memory[acts.mixed], p.memory[acts.log_sum_exp], dmixed, dquery, dkey_value,
                           p.gradients[own.bias]);
  linear_backward_weight(p.backend, dkey_value, source, p.gradients[own.to_key_value], {});
  linear_backward_input(p.backend, dkey_value, p.weights[own.to_key_value], dsource, update::add);
}

/// Call it after `attention_resampling_backward`. `dqueries` may be `queries`.
template <class Backend, class S = typename Backend::scalar>
void attention_resampling_backward_queries(const pass<Backend>& p, const attention_resampling_parameters& own,
                                           const attention_resampling_activations& acts, input<S, 2> queries,
                                           output<S, 2> dqueries, update mode) {
  const auto dquery = p.scratch[acts.dquery];
  linear_backward_weight(p.backend, dquery, queries, p.gradients[own.to_query], {});
  linear_backward_input(p.backend, dquery, p.weights[own.to_query], dqueries, mode);
}

}  // namespace strata
