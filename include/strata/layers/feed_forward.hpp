// The feed-forward half of a block: y = x + feed_forward(token_shift(x)).
// Shapes: x [B,n,d] -> y [B,n,d].
// Source: docs/model.md.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/dropout.hpp>
#include <strata/layers/norm.hpp>

namespace strata {

struct feed_forward_parameters {
  norm_parameters norm;
  tensor<2> up;    // [hidden, d]
  tensor<2> down;  // [d, hidden]
};
struct feed_forward_activations {
  norm_activations norm;
  tensor<2> hidden;     // [B n, hidden]
  tensor<3> normed;     // scratch [B,n,d], in backward also its gradient
  tensor<2> activated;  // scratch, as hidden, in backward the gradient of hidden
  dropout_place dropout;
};

template <class Table, class Name>
constexpr feed_forward_parameters declare_feed_forward(Table& table, const Name& prefix, const level_facts& level) {
  feed_forward_parameters own;
  own.norm = declare_rms_norm(table, prefix + ".net.0", level.dim);
  own.up = table.template add<2>(prefix + ".net.1.weight", {level.hidden, level.dim}, linear_start(level.dim));
  own.down = table.template add<2>(prefix + ".net.3.weight", {level.dim, level.hidden}, linear_start(level.hidden));
  return own;
}

constexpr feed_forward_activations plan_feed_forward(activation_plan& plan, const level_facts& level, index batch,
                                                     index positions) {
  feed_forward_activations own;
  own.norm = plan_norm(plan.memory, batch * positions);
  own.hidden = plan.memory.add<2>({batch * positions, level.hidden});
  memory_plan scratch;
  own.normed = scratch.add<3>({batch, positions, level.dim});
  own.activated = scratch.add<2>(own.hidden.shape);
  plan.scratch_used(scratch);
  own.dropout = plan.add_dropout(level.feed_forward_dropout);
  return own;
}

/// y = x + feed_forward(token_shift(source)); `source` is x, or x already shifted with `shift` 0.
template <class Backend, class S = typename Backend::scalar>
void feed_forward_residual(const pass<Backend>& p, const feed_forward_parameters& own,
                           const feed_forward_activations& acts, input<S, 3> source, int shift, input<S, 3> x,
                           output<S, 3> y) {
  const auto normed = p.scratch[acts.normed];
  const auto activated = p.scratch[acts.activated];
  norm_forward(p, own.norm, acts.norm, source, shift, normed);
  linear(p, normed.rows(), own.up, {}, p.memory[acts.hidden], update::replace);
  gelu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  copy(p.backend, x.flat(), y.flat());
  add_branch(p, acts.dropout, activated, own.down, normed.rows(), y.rows());
}

template <class Backend, class S = typename Backend::scalar>
void feed_forward_forward(const pass<Backend>& p, const level_facts& level, const feed_forward_parameters& own,
                          const feed_forward_activations& acts, input<S, 3> x, output<S, 3> y) {
  feed_forward_residual(p, own, acts, x, level.dilation, x, y);
}

/// One new position of each sequence: x, y [B,1,d]. `previous` [B,d] holds the last position of the same
/// interleaved sequence and receives this one; `shifted` [B,d] is free memory.
template <class Backend, class S = typename Backend::scalar>
void feed_forward_step(const pass<Backend>& p, const feed_forward_parameters& own, const feed_forward_activations& acts,
                       output<S, 2> previous, output<S, 3> shifted, input<S, 3> x, output<S, 3> y) {
  shift_step(p.backend, x.rows(), previous, shifted.rows());
  feed_forward_residual(p, own, acts, shifted, 0, x, y);
}

/// `dx` comes in as the gradient of y and leaves as that of x.
template <class Backend, class S = typename Backend::scalar>
void feed_forward_backward(const pass<Backend>& p, const level_facts& level, const feed_forward_parameters& own,
                           const feed_forward_activations& acts, input<S, 3> x, output<S, 3> dx) {
  const auto activated = p.scratch[acts.activated], dhidden = activated;
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  gelu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  const auto dbranch = gradient_of_branch(p, acts.dropout, dx.rows(), normed.rows());
  linear_backward_weight(p.backend, dbranch, activated, p.gradients[own.down], {});
  linear_backward_input(p.backend, dbranch, p.weights[own.down], dhidden, update::replace);
  gelu_backward(p.backend, p.memory[acts.hidden].flat(), dhidden.flat(), dhidden.flat());
  norm_forward(p, own.norm, acts.norm, x, level.dilation, normed);
  linear_backward_weight(p.backend, dhidden, normed.rows(), p.gradients[own.up], {});
  linear_backward_input(p.backend, dhidden, p.weights[own.up], dnormed.rows(), update::replace);
  norm_backward(p, own.norm, acts.norm, x, level.dilation, dnormed, dx);
}

}  // namespace strata
