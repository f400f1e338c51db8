// Every compressed level recognises its next embedding among the next embeddings of the batch: a sigmoid for each pair.
// Shapes: e_l [B,n,d] -> x, y [N,d], N = B (n-1) -> cosines [N,N], some rows at a time -> loss [1], summed over levels.
// Source: docs/model.md; SigLIP, arXiv 2303.15343.
#pragma once

#include <algorithm>
#include <cmath>
#include <string_view>

#include <strata/layers/linear_map.hpp>
#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

struct contrast_parameters {
  linear_map predict;              // [d,d]
  tensor<1> log_scale, pair_bias;  // [1]: a pair's logit is exp(log_scale) cosine + pair_bias
};
struct contrast_activations {
  tensor<3> source, prediction, x;  // scratch [B,n-1,d]: e_i, p = linear(e_i), p at length one
  tensor<3> target, y;              // scratch [B,n-1,d]: e_{i+1}, and e_{i+1} at length one
  tensor<3> dx, dy;                 // scratch [B,n-1,d]
  tensor<1> x_factor, y_factor;     // scratch [N]
  tensor<1> gain, dgain;            // scratch [d]
  tensor<2> cosines;                // scratch [M,N], then their gradient
};

/// Rows of the matrix of all pairs that are in memory at once.
inline constexpr index_type contrast_rows = 64;

constexpr contrast_activations plan_contrast(activation_plan& plan, const level_facts& level, index_type batch,
                                             index_type tokens, bool detach_targets) {
  contrast_activations own;
  const std::array<index_type, 3> shape{batch, level.positions(tokens) - 1, level.dim};
  const index_type pairs = shape[0] * shape[1];
  if (pairs == 0) return own;
  memory_plan scratch;
  for (tensor<3>* each : {&own.source, &own.prediction, &own.x, &own.target, &own.y}) *each = scratch.add<3>(shape);
  for (tensor<1>* each : {&own.x_factor, &own.y_factor}) *each = scratch.add<1>({pairs});
  own.gain = scratch.add<1>({level.dim});
  own.cosines = scratch.add<2>({std::min(pairs, contrast_rows), pairs});
  if (plan.training) {
    own.dx = scratch.add<3>(shape);
    own.dgain = scratch.add<1>({level.dim});
    if (!detach_targets) own.dy = scratch.add<3>(shape);
  }
  plan.scratch_used(scratch);
  return own;
}

/// Adds the loss of one level and, if `dembedding` is not empty, its gradient times `scale`.
template <class Backend, class S = typename Backend::scalar>
void contrast_level(const pass<Backend>& p, const contrast_parameters& own, const contrast_activations& acts,
                    input<S, 3> embedding, std::type_identity_t<S> scale, output<S, 1> loss, output<S, 3> dembedding) {
  const auto source = p.scratch[acts.source], prediction = p.scratch[acts.prediction], x = p.scratch[acts.x];
  const auto target = p.scratch[acts.target], y = p.scratch[acts.y];
  const auto x_factor = p.scratch[acts.x_factor], y_factor = p.scratch[acts.y_factor];
  const auto gain = p.scratch[acts.gain];
  unfold(p.backend, embedding, 1, 1, index_type{0}, source);
  unfold(p.backend, embedding, 1, 1, index_type{1}, target);
  linear_map_forward(p, own.predict, source.rows(), prediction.rows(), update::replace);
  // An RMSNorm whose gain is 1 / sqrt(d) gives rows of length one.
  fill(p.backend, 1 / std::sqrt(static_cast<S>(gain.size())), gain);
  rms_norm(p.backend, prediction, gain, 0, x, x_factor);
  rms_norm(p.backend, target, gain, 0, y, y_factor);

  const view<S, 3> dx = p.scratch.optional(dembedding ? acts.dx : tensor<3>{});
  const view<S, 3> dy = p.scratch.optional(dembedding ? acts.dy : tensor<3>{});
  if (dy) fill(p.backend, S{0}, dy.flat());
  const index_type pairs = x.rows().shape[0];
  for (index_type first = 0; first < pairs; first += contrast_rows) {
    const index_type count = std::min(contrast_rows, pairs - first);
    const view<S, 2> cosines = p.scratch[acts.cosines].slice(0, count), rows = x.rows().slice(first, count);
    linear(p.backend, rows, y.rows(), {}, cosines, update::replace);
    sigmoid_pairs(p.backend, cosines, first, p.weights[own.log_scale], p.weights[own.pair_bias], scale, loss,
                  dx ? p.gradients[own.log_scale] : view<S, 1>{}, dx ? p.gradients[own.pair_bias] : view<S, 1>{});
    if (dx) linear_backward_input(p.backend, cosines, y.rows(), dx.rows().slice(first, count), update::replace);
    if (dy) linear_backward_weight(p.backend, cosines, rows, dy.rows(), {});
  }
  if (!dx) return;

  // x and y are no longer needed: the gradients of `prediction` and `target` overwrite them.
  const auto dgain = p.scratch[acts.dgain];
  const auto dprediction = x, dsource = dx, dtarget = y;
  fill(p.backend, S{0}, dgain);
  fill(p.backend, S{0}, dprediction.flat());
  rms_norm_backward(p.backend, prediction, gain, 0, x_factor, dx, dprediction, dgain);
  linear_map_backward(p, own.predict, source.rows(), dprediction.rows(), dsource.rows(), update::replace);
  unfold_backward(p.backend, dsource, 1, 1, index_type{0}, dembedding);
  if (!dy) return;
  fill(p.backend, S{0}, dtarget.flat());
  rms_norm_backward(p.backend, target, gain, 0, y_factor, dy, dtarget, dgain);
  unfold_backward(p.backend, dtarget, 1, 1, index_type{1}, dembedding);
}

struct sigmoid_contrastive {
  double weight = 0.1;
  bool detach_targets = false;  ///< no gradient reaches the embeddings to be recognised
  model_facts model = {};

  static constexpr std::string_view name = "sigmoid_contrastive";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("detach_targets", own.detach_targets);
  }
  using parameters = each_level<contrast_parameters>;
  using activations = each_level<contrast_activations>;

  template <class Table>
  constexpr parameters declare(Table& table) const {
    using name_type = typename Table::name;
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type dim = model.levels[l].dim;
      if (!model.levels[l].compressed()) continue;
      const name_type prefix = name_type("to_contrastive_preds.") + l;
      own[l].predict = declare_linear_map(table, prefix, dim, dim, linear_initialisation(dim));
      own[l].log_scale = table.template add<1>(prefix + ".log_scale", {1}, {initialisation::kind::constant, log_10});
      own[l].pair_bias = table.template add<1>(prefix + ".pair_bias", {1}, {initialisation::kind::constant, -10});
    }
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.levels[l].compressed()) own[l] = plan_contrast(plan, model.levels[l], batch, tokens, detach_targets);
    return own;
  }

  constexpr double head_flops(index_type batch, index_type tokens) const {
    double flops = 0;
    for (const level_facts& level : model.levels) {
      if (!level.compressed()) continue;
      const double pairs = static_cast<double>(batch * (level.positions(tokens) - 1)), dim = level.dim;
      flops += 3 * 2 * pairs * dim * dim + (detach_targets ? 2 : 3) * 2 * pairs * pairs * dim;
    }
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters& own, const activations& acts, double scale,
                output<S, 1> loss) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (acts[l].cosines)
        contrast_level(context.p, own[l], acts[l], context.embeddings[l], static_cast<S>(scale), loss,
                       context.dembeddings[l]);
  }

 private:
  static constexpr double log_10 = 2.302585092994045684;
};

}  // namespace strata
