// The heavy branch of a routed feed-forward: y += gate perceptron(normed) at the positions that a learned score
// selects. It always computes as many rows as the budget of all positions allows; unused rows are zeros.
// Shapes: normed [B,n,d] -> y [B,n,d] through [B m,d].
// Source: docs/model.md, after CoLT5, arXiv 2303.09752.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/perceptron.hpp>

namespace strata::inline STRATA_ABI {

struct routed_parameters {
  tensor<2> score;       // [1,d]
  tensor<1> score_bias;  // [1]
  perceptron_parameters heavy;
};
struct routed_activations {
  tensor<2> rows;    // targets [B,m]: row numbers in [B n], -1 after the last
  tensor<2> gate;    // [B,m]
  tensor<2> budget;  // [dilation,B], the budget that each sequence has left
  perceptron_activations heavy;
  tensor<2> heavy_y;       // [B m,d], in backward its gradient
  tensor<2> scores;        // scratch [B,n], in backward their gradient
  tensor<2> selected;      // scratch [B m,d], the rows of normed, in backward their gradient
  tensor<1> any_selected;  // scratch [1], only in a step
};

/// m: rows of one text with `positions` positions.
constexpr index_type routed_rows(const level_facts& level, index_type positions) {
  index_type rows = 0;
  for (int sequence = 0; sequence < level.dilation; ++sequence)
    rows += routing_budget(level.capacity, level.sequence_length(positions, sequence));
  return rows;
}

template <class Table, class Name>
constexpr routed_parameters declare_routed(Table& table, const Name& prefix, const level_facts& level) {
  routed_parameters own;
  own.score = table.add_output(prefix + ".route.weight", {1, level.dim}, linear_initialisation(level.dim));
  own.score_bias = table.template add<1>(prefix + ".route.bias", {1}, linear_initialisation(level.dim));
  own.heavy = declare_perceptron(table, prefix + ".heavy.0", prefix + ".heavy.2", level.dim, level.heavy_hidden);
  return own;
}

constexpr routed_activations plan_routed(activation_plan& plan, memory_plan& scratch, const level_facts& level,
                                         index_type batch, index_type positions) {
  const index_type most = routed_rows(level, positions);
  routed_activations own;
  own.rows = plan.targets.add<2>({batch, most});
  own.gate = plan.memory.add<2>({batch, most});
  own.budget = plan.memory.add<2>({level.dilation, batch});
  own.heavy = plan_perceptron(plan.memory, scratch, batch * most, level.heavy_hidden);
  own.heavy_y = plan.memory.add<2>({batch * most, level.dim});
  own.scores = scratch.add<2>({batch, positions});
  own.selected = scratch.add<2>(own.heavy_y.shape);
  if (!plan.training) own.any_selected = scratch.add<1>({1});
  return own;
}

/// Selects the rows. `normed` holds `dilation` interleaved sequences, each from its index `first` on.
template <class Backend, class S = typename Backend::scalar>
void routed_select(const pass<Backend>& p, const level_facts& level, const routed_parameters& own,
                   const routed_activations& acts, input<S, 3> normed, int dilation, index_type first,
                   output<S, 2> budget) {
  const auto scores = p.scratch[acts.scores];
  linear(p, normed.rows(), own.score, own.score_bias, scores.template reshape<2>({scores.size(), 1}), update::replace);
  route(p.backend, level.capacity, dilation, first, scores, budget, p.targets[acts.rows], p.memory[acts.gate]);
}

/// Computes the selected rows and adds them to y.
template <class Backend, class S = typename Backend::scalar>
void routed_add(const pass<Backend>& p, const routed_parameters& own, const routed_activations& acts,
                input<S, 3> normed, output<S, 3> y) {
  const auto rows = p.targets[acts.rows].flat();
  const auto selected = p.scratch[acts.selected], heavy_y = p.memory[acts.heavy_y];
  embed(p.backend, rows, normed.rows(), selected, update::replace);
  perceptron_forward(p, own.heavy, acts.heavy, selected, heavy_y, update::replace);
  add_routed(p.backend, rows, p.memory[acts.gate].flat(), heavy_y, y.rows());
}

template <class Backend, class S = typename Backend::scalar>
void routed_forward(const pass<Backend>& p, const level_facts& level, const routed_parameters& own,
                    const routed_activations& acts, input<S, 3> normed, output<S, 3> y) {
  const auto budget = p.memory[acts.budget];
  fill(p.backend, S{0}, budget.flat());
  routed_select(p, level, own, acts, normed, level.dilation, index_type{0}, budget);
  routed_add(p, own, acts, normed, y);
}

/// One position with index `count` in its sequence; `budget` [1,B] belongs to that sequence. A backend that computes
/// at once first checks whether any text selected the branch: the check is cheaper than reading the branch's weights.
template <class Backend, class S = typename Backend::scalar>
void routed_step(const pass<Backend>& p, const level_facts& level, const routed_parameters& own,
                 const routed_activations& acts, index_type count, output<S, 2> budget, input<S, 3> normed,
                 output<S, 3> y) {
  routed_select(p, level, own, acts, normed, 1, count, budget);
  if constexpr (!computes_at_once<Backend>) return routed_add(p, own, acts, normed, y);
  const auto any = p.scratch[acts.any_selected];
  S host = 0;
  squared_norm(p.backend, p.memory[acts.gate].flat(), any);
  download(p.backend, any, view<S, 1>{&host, {1}});
  if (host > 0) routed_add(p, own, acts, normed, y);
}

/// Gradients of the weights. Call it before the gradient of `normed` overwrites `normed`. Leaves in the scratch memory
/// what `routed_backward_input` adds.
template <class Backend, class S = typename Backend::scalar>
void routed_backward_weights(const pass<Backend>& p, const routed_parameters& own, const routed_activations& acts,
                             input<S, 3> normed, input<S, 3> dy) {
  const auto rows = p.targets[acts.rows].flat();
  const auto heavy_y = p.memory[acts.heavy_y], dheavy_y = heavy_y;
  const auto dscores = p.scratch[acts.scores];
  const auto selected = p.scratch[acts.selected], dselected = selected;
  add_routed_backward(p.backend, rows, p.memory[acts.gate].flat(), heavy_y, dy.rows(), dheavy_y, dscores.flat());
  embed(p.backend, rows, normed.rows(), selected, update::replace);
  perceptron_backward(p, own.heavy, acts.heavy, selected, dheavy_y, dselected);
  linear_backward_weight(p.backend, dscores.template reshape<2>({dscores.size(), 1}), normed.rows(),
                         p.gradients[own.score], p.gradients[own.score_bias]);
}

/// Adds to `dnormed`.
template <class Backend, class S = typename Backend::scalar>
void routed_backward_input(const pass<Backend>& p, const routed_parameters& own, const routed_activations& acts,
                           output<S, 3> dnormed) {
  const auto dscores = p.scratch[acts.scores];
  linear_backward_input(p.backend, dscores.template reshape<2>({dscores.size(), 1}), p.weights[own.score],
                        dnormed.rows(), update::add);
  embed_backward(p.backend, p.targets[acts.rows].flat(), p.scratch[acts.selected], dnormed.rows());
}

}  // namespace strata
