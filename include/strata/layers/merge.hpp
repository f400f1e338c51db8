// The merge after a layer: all levels side by side, RMSNorm, two linear maps with SiLU between, added to the
// receiving levels.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <span>

#include <strata/config/facts.hpp>
#include <strata/layers/norm.hpp>

namespace strata {

struct merge_parameters {
  norm_parameters norm;
  tensor<2> up;         // [2 out, sum d]
  tensor<1> up_bias;    // [2 out]
  tensor<2> down;       // [out, 2 out]
  tensor<1> down_bias;  // [out]
};
struct merge_activations {
  tensor<3> concatenated;  // [B,T,sum d]
  norm_activations norm;
  tensor<2> hidden;         // [B T, 2 out]
  tensor<3> normed;         // scratch, as concatenated, in backward also its gradient
  tensor<2> activated;      // scratch, as hidden, in backward the gradient of hidden
  tensor<3> pooled;         // scratch [B,T,out], unless it is added straight; in backward its gradient
  tensor<3> dconcatenated;  // scratch
};
/// What of the model a merge depends on.
struct merge_facts {
  std::span<const level_facts> levels;

  constexpr index concatenated_dim() const { return levels.back().first_channel + levels.back().dim; }
  /// Widths of the receiving levels together.
  constexpr index out_dim() const {
    index total = 0;
    for (const level_facts& level : levels) total += level.receives ? level.dim : 0;
    return total;
  }
  /// The only receiving level where it has all positions, to which the result is added straight, or -1.
  constexpr int straight_onto() const {
    int only = -1;
    for (std::size_t l = 0; l < levels.size(); ++l) {
      if (!levels[l].receives) continue;
      if (only >= 0 || levels[l].stride > 1) return -1;
      only = static_cast<int>(l);
    }
    return only;
  }
  /// Calls body(level, column) for every receiving level and where its part of the result starts.
  template <class Body>
  void for_each_receiver(Body body) const {
    index column = 0;
    for (std::size_t l = 0; l < levels.size(); ++l) {
      if (!levels[l].receives) continue;
      body(l, column);
      column += levels[l].dim;
    }
  }
};
template <class Facts>
constexpr merge_facts facts_of_merge() {
  return {Facts::levels};
}

template <class Table>
constexpr merge_parameters declare_merge(Table& table, const merge_facts& facts, int layer) {
  using name = typename Table::name;
  const name prefix = name("hierarchical_merges.") + layer + ".net";
  const index in = facts.concatenated_dim(), out = facts.out_dim();
  merge_parameters own;
  own.norm = declare_rms_norm(table, prefix + ".0", in);
  own.up = table.template add<2>(prefix + ".1.weight", {2 * out, in}, linear_start(in));
  own.up_bias = table.template add<1>(prefix + ".1.bias", {2 * out}, linear_start(in));
  own.down = table.template add<2>(prefix + ".3.weight", {out, 2 * out}, linear_start(2 * out));
  own.down_bias = table.template add<1>(prefix + ".3.bias", {out}, linear_start(2 * out));
  return own;
}

constexpr merge_activations plan_merge(activation_plan& plan, const merge_facts& facts, index batch, index tokens) {
  merge_activations own;
  const index out = facts.out_dim();
  own.concatenated = plan.memory.add<3>({batch, tokens, facts.concatenated_dim()});
  own.norm = plan_norm(plan.memory, batch * tokens);
  own.hidden = plan.memory.add<2>({batch * tokens, 2 * out});
  memory_plan scratch;
  own.normed = scratch.add<3>(own.concatenated.shape);
  own.activated = scratch.add<2>(own.hidden.shape);
  if (facts.straight_onto() < 0) own.pooled = scratch.add<3>({batch, tokens, out});
  if (plan.training) own.dconcatenated = scratch.add<3>(own.concatenated.shape);
  plan.scratch_used(scratch);
  return own;
}

/// From `acts.concatenated`, already filled, to `acts.hidden`.
template <class Backend>
void merge_hidden(const pass<Backend>& p, const merge_parameters& own, const merge_activations& acts) {
  const auto normed = p.scratch[acts.normed];
  norm_forward(p, own.norm, acts.norm, p.memory[acts.concatenated], 0, normed);
  linear(p, normed.rows(), own.up, own.up_bias, p.memory[acts.hidden], update::replace);
}

/// From `acts.concatenated`, already filled, to what is added: into `pooled` or straight onto the receiving
/// level.
template <class Backend, class S = typename Backend::scalar>
void merge_concatenated(const pass<Backend>& p, const merge_facts& facts, const merge_parameters& own,
                        const merge_activations& acts, std::span<const std::type_identity_t<view<S, 3>>> x) {
  merge_hidden(p, own, acts);
  const auto activated = p.scratch[acts.activated];
  silu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  const int only = facts.straight_onto();
  const auto target = only < 0 ? p.scratch[acts.pooled] : x[static_cast<std::size_t>(only)];
  linear(p, activated, own.down, own.down_bias, target.rows(), only < 0 ? update::replace : update::add);
}

/// Fills `acts.concatenated`.
template <class Backend, class S = typename Backend::scalar>
void merge_concatenate(const pass<Backend>& p, std::span<const level_facts> levels, const merge_activations& acts,
                       std::span<const std::type_identity_t<view<S, 3>>> x) {
  for (std::size_t l = 0; l < levels.size(); ++l)
    repeat(p.backend, x[l], levels[l].stride, index{levels[l].first_channel}, p.memory[acts.concatenated]);
}

template <class Backend, class S = typename Backend::scalar>
void merge_forward(const pass<Backend>& p, const merge_facts& facts, std::span<const level_facts> levels,
                   const merge_parameters& own, const merge_activations& acts,
                   std::span<const std::type_identity_t<view<S, 3>>> x) {
  merge_concatenate(p, levels, acts, x);
  merge_concatenated(p, facts, own, acts, x);
  if (!acts.pooled) return;
  facts.for_each_receiver([&](std::size_t l, index column) {
    subsample(p.backend, p.scratch[acts.pooled], levels[l].stride, column, x[l]);
  });
}

/// `dx` come in as the gradients after the merge and leave as those before it.
template <class Backend, class S = typename Backend::scalar>
void merge_backward(const pass<Backend>& p, const merge_facts& facts, std::span<const level_facts> levels,
                    const merge_parameters& own, const merge_activations& acts,
                    std::span<const std::type_identity_t<view<S, 3>>> dx) {
  const int only = facts.straight_onto();
  const view<S, 3> dpooled = only < 0 ? p.scratch[acts.pooled] : dx[static_cast<std::size_t>(only)];
  if (only < 0)
    facts.for_each_receiver(
        [&](std::size_t l, index column) { subsample_backward(p.backend, dx[l], levels[l].stride, column, dpooled); });
  const auto activated = p.scratch[acts.activated], dhidden = activated;
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  silu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  linear_backward_weight(p.backend, dpooled.rows(), activated, p.gradients[own.down], p.gradients[own.down_bias]);
  linear_backward_input(p.backend, dpooled.rows(), p.weights[own.down], dhidden, update::replace);
  silu_backward(p.backend, p.memory[acts.hidden].flat(), dhidden.flat(), dhidden.flat());
  norm_forward(p, own.norm, acts.norm, p.memory[acts.concatenated], 0, normed);
  linear_backward_weight(p.backend, dhidden, normed.rows(), p.gradients[own.up], p.gradients[own.up_bias]);
  linear_backward_input(p.backend, dhidden, p.weights[own.up], dnormed.rows(), update::replace);
  const auto dconcatenated = p.scratch[acts.dconcatenated];
  fill(p.backend, S{0}, dconcatenated.flat());
  norm_backward(p, own.norm, acts.norm, p.memory[acts.concatenated], 0, dnormed, dconcatenated);
  for (std::size_t l = 0; l < levels.size(); ++l)
    repeat_backward(p.backend, dconcatenated, levels[l].stride, index{levels[l].first_channel}, dx[l]);
}

}  // namespace strata
