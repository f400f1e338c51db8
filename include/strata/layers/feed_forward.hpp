// The feed-forward half of a block: y = x + feed_forward(token_shift(x)); with routing, a light and a heavy branch.
// Shapes: x [B,n,d] -> y [B,n,d].
// Source: docs/model.md.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/dropout.hpp>
#include <strata/layers/routed_branch.hpp>
#include <strata/layers/token_shift.hpp>

namespace strata::inline STRATA_ABI {

struct feed_forward_parameters {
  token_shift_parameters input;
  perceptron_parameters every;  // for every position
  routed_parameters routed;     // for selected positions, if the level has routing
};
struct feed_forward_activations {
  token_shift_activations input;
  perceptron_activations every;
  routed_activations routed;
  tensor<3> normed;   // scratch [B,n,d], in backward also its gradient
  tensor<3> dbranch;  // scratch [B,n,d], only with dropout
  dropout_layer dropout;
};

template <class Table, class Name>
constexpr feed_forward_parameters declare_feed_forward(Table& table, const Name& prefix, const level_facts& level) {
  feed_forward_parameters own;
  own.input = declare_token_shift(table, prefix, level, declare_rms_norm(table, prefix + ".net.0", level.dim));
  own.every = declare_perceptron(table, prefix + ".net.1", prefix + ".net.3", level.dim, level.hidden);
  if (level.routed()) own.routed = declare_routed(table, prefix, level);
  return own;
}

constexpr feed_forward_activations plan_feed_forward(activation_plan& plan, const level_facts& level, index_type batch,
                                                     index_type positions) {
  feed_forward_activations own;
  memory_plan scratch;
  own.input = plan_token_shift(plan.memory, scratch, level, batch, positions);
  own.normed = scratch.add<3>({batch, positions, level.dim});
  own.every = plan_perceptron(plan.memory, scratch, batch * positions, level.hidden);
  if (level.routed()) own.routed = plan_routed(plan, scratch, level, batch, positions);
  own.dropout = plan.add_dropout(plan.dropout.feed_forward);
  if (plan.training && own.dropout.rate > 0) own.dbranch = scratch.add<3>(own.normed.shape);
  plan.scratch_used(scratch);
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void feed_forward_forward(const pass<Backend>& p, const level_facts& level, const feed_forward_parameters& own,
                          const feed_forward_activations& acts, input<S, 3> x, output<S, 3> y) {
  const auto normed = p.scratch[acts.normed];
  token_shift_forward(p, level, own.input, acts.input, x, normed);
  add_branch(p, acts.dropout, x.flat(), y.flat(), [&](update mode) {
    perceptron_forward(p, own.every, acts.every, normed.rows(), y.rows(), mode);
    if (level.routed()) routed_forward(p, level, own.routed, acts.routed, normed, y);
  });
}

/// One new position of each of B texts: x, y [B,1,d]. `count` is its index in its interleaved sequence. `previous`
/// [B,d] holds the position before it in that sequence and receives this one. `shifted` [B,1,d] is scratch memory. With
/// routing, `budget` [1,B] is the budget of that sequence.
template <class Backend, class S = typename Backend::scalar>
void feed_forward_step(const pass<Backend>& p, const level_facts& level, const feed_forward_parameters& own,
                       const feed_forward_activations& acts, index_type count, output<S, 2> budget,
                       output<S, 2> previous, output<S, 3> shifted, input<S, 3> x, output<S, 3> y) {
  const auto normed = p.scratch[acts.normed];
  token_shift_step(p, own.input, acts.input, previous, shifted, x, normed);
  copy(p.backend, x.flat(), y.flat());
  perceptron_forward(p, own.every, acts.every, normed.rows(), y.rows(), update::add);
  if (level.routed()) routed_step(p, level, own.routed, acts.routed, count, budget, normed, y);
}

/// On entry `dx` is the gradient of y, on return the gradient of x.
template <class Backend, class S = typename Backend::scalar>
void feed_forward_backward(const pass<Backend>& p, const level_facts& level, const feed_forward_parameters& own,
                           const feed_forward_activations& acts, input<S, 3> x, output<S, 3> dx) {
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  const auto dbranch = gradient_of_branch(p, acts.dropout, dx, p.scratch.optional(acts.dbranch));
  token_shift_forward(p, level, own.input, acts.input, x, normed);
  if (level.routed()) routed_backward_weights(p, own.routed, acts.routed, normed, dbranch);
  perceptron_backward(p, own.every, acts.every, normed.rows(), dbranch.rows(), dnormed.rows());
  if (level.routed()) routed_backward_input(p, own.routed, acts.routed, dnormed);
  token_shift_backward(p, level, own.input, acts.input, x, dnormed, dx);
}

}  // namespace strata
