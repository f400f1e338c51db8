// All levels side by side, RMSNorm, two linear maps with SiLU between; each receiving level adds its part.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/layers/norm.hpp>
#include <strata/merges/context.hpp>

namespace strata::inline STRATA_ABI {

struct concatenate {
  model_facts model = {};

  static constexpr std::string_view name = "concatenate";
  struct parameters {
    norm_parameters norm;
    tensor<2> up;         // [2 out, sum d]
    tensor<1> up_bias;    // [2 out]
    tensor<2> down;       // [out, 2 out]
    tensor<1> down_bias;  // [out]
  };
  struct activations {
    tensor<3> concatenated;  // [B,T,sum d]
    norm_activations norm;
    tensor<2> hidden;         // [B T, 2 out]
    tensor<3> normed;         // scratch, as concatenated, in backward also its gradient
    tensor<2> activated;      // scratch, as hidden, in backward the gradient of hidden
    tensor<3> pooled;         // scratch [B,T,out], unless it is added directly; in backward its gradient
    tensor<3> dconcatenated;  // scratch
  };

  /// Sum of the widths of the receiving levels.
  constexpr index_type out_dim() const {
    index_type total = 0;
    for (const level_facts& level : model.levels) total += level.receives ? level.dim : 0;
    return total;
  }

  /// The only receiving level, if its stride is 1: the result is added directly to it. Otherwise -1.
  constexpr int straight_onto() const {
    int only = -1;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      if (only >= 0 || model.levels[l].stride > 1) return -1;
      only = static_cast<int>(l);
    }
    return only;
  }

  template <class Table>
  constexpr parameters declare(Table& table, int layer) const {
    using name_type = typename Table::name;
    const name_type prefix = name_type("hierarchical_merges.") + layer + ".net";
    const index_type in = model.concatenated_dim(), out = out_dim();
    parameters own;
    own.norm = declare_rms_norm(table, prefix + ".0", in);
    own.up = table.template add<2>(prefix + ".1.weight", {2 * out, in}, linear_initialisation(in));
    own.up_bias = table.template add<1>(prefix + ".1.bias", {2 * out}, linear_initialisation(in));
    own.down = table.template add<2>(prefix + ".3.weight", {out, 2 * out}, linear_initialisation(2 * out));
    own.down_bias = table.template add<1>(prefix + ".3.bias", {out}, linear_initialisation(2 * out));
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    const index_type out = out_dim();
    activations own;
    own.concatenated = plan.memory.add<3>({batch, tokens, model.concatenated_dim()});
    own.norm = plan_norm(plan.memory, batch * tokens);
    own.hidden = plan.memory.add<2>({batch * tokens, 2 * out});
    memory_plan scratch;
    own.normed = scratch.add<3>(own.concatenated.shape);
    own.activated = scratch.add<2>(own.hidden.shape);
    if (straight_onto() < 0) own.pooled = scratch.add<3>({batch, tokens, out});
    if (plan.training) own.dconcatenated = scratch.add<3>(own.concatenated.shape);
    plan.scratch_used(scratch);
    return own;
  }

  constexpr double forward_flops(index_type batch, index_type tokens) const {
    return static_cast<double>(batch * tokens) * step_flops();
  }
  constexpr double step_flops() const {
    const double in = static_cast<double>(model.concatenated_dim()), out = static_cast<double>(out_dim());
    return 2 * (2 * in * out + 2 * out * out);
  }

  template <class Backend, class S = typename Backend::scalar>
  void forward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    add_merged(p, own, acts, 0, x, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void recompute(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      repeat(p.backend, x[l], model.levels[l].stride, index_type{model.levels[l].first_channel},
             p.memory[acts.concatenated]);
    const auto normed = p.scratch[acts.normed];
    norm_forward(p, own.norm, acts.norm, p.memory[acts.concatenated], 0, normed);
    linear(p, normed.rows(), own.up, own.up_bias, p.memory[acts.hidden], update::replace);
  }

  template <class Backend, class S = typename Backend::scalar>
  void step(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
            level_streams<S> current, level_streams<S> x) const {
    add_merged(p, own, acts, position, current, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void backward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S>,
                level_streams<S> dx) const {
    const int only = straight_onto();
    const view<S, 3> dpooled = only < 0 ? p.scratch[acts.pooled] : dx[static_cast<std::size_t>(only)];
    if (only < 0)
      for_each_receiver([&](std::size_t l, index_type column) {
        subsample_backward(p.backend, dx[l], model.levels[l].stride, column, dpooled);
      });
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
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      repeat_backward(p.backend, dconcatenated, model.levels[l].stride, index_type{model.levels[l].first_channel},
                      dx[l]);
  }

 private:
  /// Calls body(level, column) for every receiving level; `column` is the offset of its part of the result.
  template <class Body>
  void for_each_receiver(Body body) const {
    index_type column = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      body(l, column);
      column += model.levels[l].dim;
    }
  }
  /// Adds the merge of `from` to `x`. `position` is the token of a step, or 0 for full sequences.
  template <class Backend, class S = typename Backend::scalar>
  void add_merged(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
                  level_streams<S> from, level_streams<S> x) const {
    recompute(p, own, acts, from);
    const auto activated = p.scratch[acts.activated];
    silu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
    if (const int only = straight_onto(); only >= 0)
      return linear(p, activated, own.down, own.down_bias, x[static_cast<std::size_t>(only)].rows(), update::add);
    const auto pooled = p.scratch[acts.pooled];
    linear(p, activated, own.down, own.down_bias, pooled.rows(), update::replace);
    for_each_receiver([&](std::size_t l, index_type column) {
      if (model.receives_at(l, position)) subsample(p.backend, pooled, model.levels[l].stride, column, x[l]);
    });
  }
};

}  // namespace strata
