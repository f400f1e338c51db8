// The attention half of a block: y = x + attention(token_shift(x)).
// Shapes: x [B,n,d] -> y [B,n,d].
// Source: docs/model.md.
#pragma once

#include <strata/backend/backend.hpp>
#include <strata/config/facts.hpp>
#include <strata/layers/dropout.hpp>
#include <strata/layers/token_shift.hpp>

namespace strata::inline STRATA_ABI {

struct attention_parameters {
  token_shift_parameters input;
  tensor<2> to_qkv;  // [3 H E, d]
  tensor<2> to_out;  // [d, H E]
};
struct attention_activations {
  token_shift_activations input;
  tensor<2> qkv;           // [B n, 3 H E], before rotation
  tensor<2> mixed;         // [B n, H E]
  tensor<3> log_sum_exp;   // [B,H,n]
  tensor<3> normed;        // scratch [B,n,d], in backward also its gradient
  tensor<2> dqkv, dmixed;  // scratch, as qkv and mixed
  dropout_layer dropout;
};

constexpr attention_shape shape_of_attention(const level_facts& level, index_type batch, index_type positions) {
  return {batch, positions, level.heads, level.head_dim, level.span, level.dilation};
}

/// Uses the weights of `shared`, another level's attention, if they are declared.
template <class Table, class Name>
constexpr attention_parameters declare_attention(Table& table, const Name& prefix, const level_facts& level,
                                                 const attention_parameters& shared) {
  attention_parameters own;
  own.input = declare_token_shift(table, prefix, level,
                                  level.full ? declare_rms_norm(table, prefix + ".norm", level.dim)
                                             : declare_layer_norm(table, prefix + ".norm", level.dim));
  own.to_qkv = shared.to_qkv;
  own.to_out = shared.to_out;
  if (own.to_qkv) return own;
  own.to_qkv = table.add_stacked(prefix + ".to_qkv.weight", 3, {3 * level.attention_dim(), level.dim},
                                 linear_initialisation(level.dim));
  own.to_out = table.template add<2>(prefix + ".to_out.weight", {level.dim, level.attention_dim()},
                                     linear_initialisation(level.attention_dim()));
  return own;
}

constexpr attention_activations plan_attention(activation_plan& plan, const level_facts& level, index_type batch,
                                               index_type positions) {
  const index_type rows = batch * positions, dim = level.attention_dim();
  attention_activations own;
  own.qkv = plan.memory.add<2>({rows, 3 * dim});
  own.mixed = plan.memory.add<2>({rows, dim});
  own.log_sum_exp = plan.memory.add<3>({batch, level.heads, positions});
  memory_plan scratch;
  own.input = plan_token_shift(plan.memory, scratch, level, batch, positions);
  own.normed = scratch.add<3>({batch, positions, level.dim});
  if (plan.training) {
    own.dqkv = scratch.add<2>(own.qkv.shape);
    own.dmixed = scratch.add<2>(own.mixed.shape);
  }
  plan.scratch_used(scratch);
  own.dropout = plan.add_dropout(plan.dropout.attention);
  return own;
}

/// The part of log_sum_exp [B,H,n] that belongs to a text.
template <class S>
constexpr view<S, 3> log_sum_exp_of(const text_rows& text, const view<S, 3>& all) {
  return {all.data + text.first * all.shape[1], {text.texts, all.shape[1], text.positions}};
}

template <class Backend, class S = typename Backend::scalar>
void attention_forward(const pass<Backend>& p, const level_facts& level, const attention_parameters& own,
                       const attention_activations& acts, input<S, 3> table, input<S, 3> x, output<S, 3> y) {
  const auto normed = p.scratch[acts.normed];
  token_shift_forward(p, level, own.input, acts.input, x, normed);
  linear(p, normed.rows(), own.to_qkv, {}, p.memory[acts.qkv], update::replace);
  for_each_text(p, x, [&](const text_rows& text) {
    attention(p.backend, shape_of_attention(level, text.texts, text.positions), table, text.of(p.memory[acts.qkv]),
              text.of(p.memory[acts.mixed]), log_sum_exp_of(text, p.memory[acts.log_sum_exp]));
  });
  add_branch(p, acts.dropout, x.flat(), y.flat(),
             [&](update mode) { linear(p, p.memory[acts.mixed], own.to_out, {}, y.rows(), mode); });
}

/// One new position of each of B texts: x, y [B,1,d]. `count` is its index in its interleaved sequence; `keys` and
/// `values` [B,span,H E] are the rings of that sequence. `table` is by distance; `previous` and `shifted` are as
/// in `feed_forward_step`.
template <class Backend, class S = typename Backend::scalar>
void attention_step(const pass<Backend>& p, const level_facts& level, const attention_parameters& own,
                    const attention_activations& acts, input<S, 3> table, index_type count, output<S, 3> keys,
                    output<S, 3> values, output<S, 2> previous, output<S, 3> shifted, input<S, 3> x, output<S, 3> y) {
  const attention_shape shape = shape_of_attention(level, x.shape[0], 1);
  const auto normed = p.scratch[acts.normed];
  token_shift_step(p, own.input, acts.input, previous, shifted, x, normed);
  linear(p, normed.rows(), own.to_qkv, {}, p.memory[acts.qkv], update::replace);
  attention_step(p.backend, shape, count, p.memory[acts.qkv], table, keys, values, p.memory[acts.mixed]);
  copy(p.backend, x.flat(), y.flat());
  linear(p, p.memory[acts.mixed], own.to_out, {}, y.rows(), update::add);
}

/// On entry `dx` is the gradient of y, on return the gradient of x.
template <class Backend, class S = typename Backend::scalar>
void attention_backward(const pass<Backend>& p, const level_facts& level, const attention_parameters& own,
                        const attention_activations& acts, input<S, 3> table, input<S, 3> x, output<S, 3> dx) {
  const auto dmixed = p.scratch[acts.dmixed];
  const auto dqkv = p.scratch[acts.dqkv];
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  const auto dbranch = gradient_of_branch(p, acts.dropout, dx, normed);
  linear_backward_weight(p.backend, dbranch.rows(), p.memory[acts.mixed], p.gradients[own.to_out], {});
  linear_backward_input(p.backend, dbranch.rows(), p.weights[own.to_out], dmixed, update::replace);
  for_each_text(p, x, [&](const text_rows& text) {
    attention_backward(p.backend, shape_of_attention(level, text.texts, text.positions), table,
                       text.of(p.memory[acts.qkv]), text.of(p.memory[acts.mixed]),
                       log_sum_exp_of(text, p.memory[acts.log_sum_exp]), text.of(dmixed), text.of(dqkv));
  });
  token_shift_forward(p, level, own.input, acts.input, x, normed);
  linear_backward_weight(p.backend, dqkv, normed.rows(), p.gradients[own.to_qkv], {});
  linear_backward_input(p.backend, dqkv, p.weights[own.to_qkv], dnormed.rows(), update::replace);
  token_shift_backward(p, level, own.input, acts.input, x, dnormed, dx);
}

}  // namespace strata
