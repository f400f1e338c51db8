// Compression by attention: each position of a level asks, from the token at which it stands, for the last c tokens.
// Shapes: tokens [B,T,D] -> [B,n,d], n = ceil(T / s).
// Source: docs/model.md.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata {

struct attention_pooling_parameters {
  tensor<2> to_query;      // [H E, D]
  tensor<2> to_key_value;  // [2 H E, D]
  tensor<2> bias;          // [H,c] by distance
  tensor<2> to_out;        // [d, H E]
  tensor<1> out_bias;      // [d]
};
struct attention_pooling_activations {
  tensor<2> query;        // [B n, H E]
  tensor<2> key_value;    // [B T, 2 H E]
  tensor<2> mixed;        // [B n, H E]
  tensor<3> log_sum_exp;  // [B,H,n]
  tensor<3> standing;     // scratch [B,n,D], the tokens where positions stand, in backward their gradient
  tensor<2> dquery, dkey_value, dmixed;  // scratch, as query, key_value and mixed
};

constexpr cross_attention_shape shape_of_attention_pooling(const level_facts& level, index batch, index tokens) {
  return {batch, level.positions(tokens), level.stride, tokens, 1, level.heads, level.head_dim, level.compression};
}

/// The bias is looked up and not multiplied with, so no format packs it.
template <class Table, class Name>
constexpr attention_pooling_parameters declare_attention_pooling(Table& table, const Name& prefix,
                                                                 const level_facts& level, index dim) {
  const index inner = level.attention_dim();
  attention_pooling_parameters own;
  own.to_query = table.template add<2>(prefix + ".to_q.weight", {inner, dim}, linear_start(dim));
  own.to_key_value = table.template add<2>(prefix + ".to_kv.weight", {2 * inner, dim}, linear_start(dim));
  own.bias = table.add_rows(prefix + ".distance_bias", {level.heads, level.compression}, zeros);
  own.to_out = table.template add<2>(prefix + ".to_out.weight", {level.dim, inner}, linear_start(inner));
  own.out_bias = table.template add<1>(prefix + ".to_out.bias", {level.dim}, linear_start(inner));
  return own;
}

constexpr attention_pooling_activations plan_attention_pooling(activation_plan& plan, const level_facts& level,
                                                               const tensor<3>& tokens) {
  const auto [batch, length, dim] = tokens.shape;
  const index rows = batch * level.positions(length), inner = level.attention_dim();
  attention_pooling_activations own;
  own.query = plan.memory.add<2>({rows, inner});
  own.key_value = plan.memory.add<2>({batch * length, 2 * inner});
  own.mixed = plan.memory.add<2>(own.query.shape);
  own.log_sum_exp = plan.memory.add<3>({batch, level.heads, level.positions(length)});
  memory_plan scratch;
  own.standing = scratch.add<3>({batch, level.positions(length), dim});
  if (plan.training) {
    own.dquery = scratch.add<2>(own.query.shape);
    own.dkey_value = scratch.add<2>(own.key_value.shape);
    own.dmixed = scratch.add<2>(own.mixed.shape);
  }
  plan.scratch_used(scratch);
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void attention_pooling_forward(const pass<Backend>& p, const level_facts& level,
                               const attention_pooling_parameters& own, const attention_pooling_activations& acts,
                               input<S, 3> tokens, output<S, 3> y) {
  const cross_attention_shape shape = shape_of_attention_pooling(level, tokens.shape[0], tokens.shape[1]);
  const auto standing = p.scratch[acts.standing];
  unfold(p.backend, tokens, 1, level.stride, index{0}, standing);
  linear(p, standing.rows(), own.to_query, {}, p.memory[acts.query], update::replace);
  linear(p, tokens.rows(), own.to_key_value, {}, p.memory[acts.key_value], update::replace);
  cross_attention(p.backend, shape, p.memory[acts.query], p.memory[acts.key_value], p.weights[own.bias],
                  p.memory[acts.mixed], p.memory[acts.log_sum_exp], update::replace);
  linear(p, p.memory[acts.mixed], own.to_out, own.out_bias, y.rows(), update::replace);
}

/// One more token of each of B texts, number `position`: newest [B,1,D], y [B,1,d]. `ring` [B,c,2 H E] holds the keys and
/// values of the last ones, also of those where the level has no position; y is computed where it has one.
template <class Backend, class S = typename Backend::scalar>
void attention_pooling_step(const pass<Backend>& p, const level_facts& level, const attention_pooling_parameters& own,
                            const attention_pooling_activations& acts, index position, output<S, 3> ring,
                            input<S, 3> newest, output<S, 3> y) {
  const auto query = p.memory[acts.query], key_value = p.memory[acts.key_value], mixed = p.memory[acts.mixed];
  linear(p, newest.rows(), own.to_key_value, {}, key_value, update::replace);
  keep_row(p.backend, key_value, position, ring);
  if (position % level.stride != 0) return;
  linear(p, newest.rows(), own.to_query, {}, query, update::replace);
  cross_attention_step(p.backend, shape_of_attention_pooling(level, newest.shape[0], 1), position + 1, query, ring,
                       p.weights[own.bias], mixed, p.memory[acts.log_sum_exp], update::replace);
  linear(p, mixed, own.to_out, own.out_bias, y.rows(), update::replace);
}

/// Adds to `dtokens`.
template <class Backend, class S = typename Backend::scalar>
void attention_pooling_backward(const pass<Backend>& p, const level_facts& level,
                                const attention_pooling_parameters& own, const attention_pooling_activations& acts,
                                input<S, 3> tokens, input<S, 3> dy, output<S, 3> dtokens) {
  const cross_attention_shape shape = shape_of_attention_pooling(level, tokens.shape[0], tokens.shape[1]);
  const auto dquery = p.scratch[acts.dquery], dkey_value = p.scratch[acts.dkey_value], dmixed = p.scratch[acts.dmixed];
  const auto standing = p.scratch[acts.standing], dstanding = standing;
  linear_backward_weight(p.backend, dy.rows(), p.memory[acts.mixed], p.gradients[own.to_out],
                         p.gradients[own.out_bias]);
  linear_backward_input(p.backend, dy.rows(), p.weights[own.to_out], dmixed, update::replace);
  fill(p.backend, S{0}, dquery.flat());
  fill(p.backend, S{0}, dkey_value.flat());
  cross_attention_backward(p.backend, shape, p.memory[acts.query], p.memory[acts.key_value], p.weights[own.bias],
                           p.memory[acts.mixed], p.memory[acts.log_sum_exp], dmixed, dquery, dkey_value,
                           p.gradients[own.bias]);
  linear_backward_weight(p.backend, dkey_value, tokens.rows(), p.gradients[own.to_key_value], {});
  linear_backward_input(p.backend, dkey_value, p.weights[own.to_key_value], dtokens.rows(), update::add);
  unfold(p.backend, tokens, 1, level.stride, index{0}, standing);
  linear_backward_weight(p.backend, dquery, standing.rows(), p.gradients[own.to_query], {});
  linear_backward_input(p.backend, dquery, p.weights[own.to_query], dstanding.rows(), update::replace);
  unfold_backward(p.backend, dstanding, 1, level.stride, index{0}, dtokens);
}

}  // namespace strata
