// For levels of one width: one RMSNorm per level, a depthwise convolution over the levels at each token, a linear map.
// All receiving levels add the same result.
// Shapes: x_l [B,n_l,d] for every level -> the same, in place.
// Source: docs/model.md; depthwise-separable convolutions: Xception, arXiv 1610.02357.
#pragma once

#include <algorithm>
#include <string_view>

#include <strata/layers/norm.hpp>
#include <strata/merges/context.hpp>

namespace strata::inline STRATA_ABI {

struct separable {
  model_facts model = {};

  static constexpr std::string_view name = "separable";
  struct parameters {
    each_level<norm_parameters> norm;
    each_level<tensor<1>> depthwise;  // [d]
    tensor<1> depthwise_bias;         // [d]
    tensor<2> pointwise;              // [d,d]
    tensor<1> pointwise_bias;         // [d]
  };
  struct activations {
    streams_before_merge before;
    each_level<norm_activations> norm;
    each_level<tensor<3>> normed;   // scratch [B,n,d]
    each_level<tensor<3>> dnormed;  // scratch [B,n,d], one level after another in the same memory
    tensor<3> mixed;                // scratch [B,T,d], in backward also its gradient
    tensor<3> pooled;               // scratch [B,T,d], in backward its gradient
  };

  template <const auto& Own>
  static constexpr bool check() {
    constexpr bool equal = std::ranges::all_of(
        Own.model.levels, [](const level_facts& level) { return level.dim == Own.model.embedding_dim; });
    static_assert(equal, "strata: the merge 'separable' needs levels of equal dim");
    return true;
  }
  constexpr index_type dim() const { return model.levels.front().dim; }

  template <class Table>
  constexpr parameters declare(Table& table, int layer) const {
    using name_type = typename Table::name;
    const name_type prefix = name_type("hierarchical_merges.") + layer;
    const index_type taps = static_cast<index_type>(model.levels.size());
    parameters own;
    for (int l = 0; l < static_cast<int>(model.levels.size()); ++l) {
      const auto n = static_cast<std::size_t>(l);
      own.norm[n] = declare_rms_norm(table, prefix + ".norms." + l, dim());
      own.depthwise[n] =
          table.template add<1>(prefix + ".depthwise." + l + ".weight", {dim()}, linear_initialisation(taps));
    }
    own.depthwise_bias = table.template add<1>(prefix + ".depthwise.bias", {dim()}, linear_initialisation(taps));
    own.pointwise = table.template add<2>(prefix + ".pointwise.weight", {dim(), dim()}, linear_initialisation(dim()));
    own.pointwise_bias = table.template add<1>(prefix + ".pointwise.bias", {dim()}, linear_initialisation(dim()));
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    own.before.plan(plan, model.levels, batch, tokens);
    memory_plan scratch;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type positions = model.levels[l].positions(tokens);
      own.norm[l] = plan_norm(plan.memory, batch * positions);
      own.normed[l] = scratch.add<3>({batch, positions, dim()});
    }
    own.mixed = scratch.add<3>({batch, tokens, dim()});
    own.pooled = scratch.add<3>(own.mixed.shape);
    plan.scratch_used(scratch);
    for (std::size_t l = 0; plan.training && l < model.levels.size(); ++l) {
      memory_plan level_scratch = scratch;
      own.dnormed[l] = level_scratch.add<3>(own.normed[l].shape);
      plan.scratch_used(level_scratch);
    }
    return own;
  }

  constexpr double forward_flops(index_type batch, index_type tokens) const {
    return static_cast<double>(batch * tokens) * step_flops();
  }
  constexpr double step_flops() const { return 2 * static_cast<double>(dim() * dim()); }

  template <class Backend, class S = typename Backend::scalar>
  void forward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    recompute(p, own, acts, x);
    add_merged(p, own, acts, 0, x, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void recompute(const pass<Backend>& p, const parameters&, const activations& acts, level_streams<S> x) const {
    acts.before.keep(p, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void step(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
            level_streams<S> current, level_streams<S> x) const {
    add_merged(p, own, acts, position, current, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void backward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> after,
                level_streams<S> dx) const {
    const auto dpooled = p.scratch[acts.pooled];
    fill(p.backend, S{0}, dpooled.flat());
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.levels[l].receives)
        take_columns_backward(p.backend, dx[l], {1, 0, model.levels[l].stride, 0, dim()}, dpooled);
    each_level<view<S, 3>> x;
    for (std::size_t l = 0; l < model.levels.size(); ++l) x[l] = acts.before.of(p, l, after);
    mix(p, own, acts, x);
    const auto mixed = p.scratch[acts.mixed], dmixed = mixed;
    linear_backward_weight(p.backend, dpooled.rows(), mixed.rows(), p.gradients[own.pointwise],
                           p.gradients[own.pointwise_bias]);
    linear_backward_input(p.backend, dpooled.rows(), p.weights[own.pointwise], dmixed.rows(), update::replace);
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const auto dnormed = p.scratch[acts.dnormed[l]];
      fill(p.backend, S{0}, dnormed.flat());
      depthwise_backward(p.backend, p.scratch[acts.normed[l]], model.levels[l].stride, p.weights[own.depthwise[l]],
                         dmixed, dnormed, p.gradients[own.depthwise[l]],
                         l == 0 ? p.gradients[own.depthwise_bias] : view<S, 1>{});
      norm_backward(p, own.norm[l], acts.norm[l], x[l], 0, dnormed, dx[l]);
    }
  }

 private:
  /// Computes `acts.mixed` from the streams.
  template <class Backend, class S = typename Backend::scalar>
  void mix(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const auto normed = p.scratch[acts.normed[l]];
      norm_forward(p, own.norm[l], acts.norm[l], x[l], 0, normed);
      const view<const S, 1> bias = l == 0 ? p.weights[own.depthwise_bias] : view<const S, 1>{};
      depthwise(p.backend, normed, model.levels[l].stride, p.weights[own.depthwise[l]], bias, p.scratch[acts.mixed],
                l == 0 ? update::replace : update::add);
    }
  }
  /// Adds the merge of `from` to `x`. `position` is the token of a step, or 0 for full sequences.
  template <class Backend, class S = typename Backend::scalar>
  void add_merged(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
                  level_streams<S> from, level_streams<S> x) const {
    mix(p, own, acts, from);
    const auto pooled = p.scratch[acts.pooled];
    linear(p, p.scratch[acts.mixed].rows(), own.pointwise, own.pointwise_bias, pooled.rows(), update::replace);
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.receives_at(l, position)) subsample(p.backend, pooled, model.levels[l].stride, 0, x[l]);
  }
};

}  // namespace strata
