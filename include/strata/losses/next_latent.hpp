// Every level predicts its next embedding from its embedding e_i and a summary of the tokens of position i+1:
// z = e_i + MLP(LayerNorm([e_i ; summary_{i+1}])). The next roll-out uses z and the next summary.
// Shapes: e_l [B,n,d], token embeddings [B,T,D] -> z [B,m,d], m = n - R, R roll-outs -> loss [1], summed over levels.
// Source: docs/model.md; simple-hierarchical-transformer 0.4.0.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include <strata/core/error.hpp>
#include <strata/layers/linear_map.hpp>
#include <strata/layers/norm.hpp>
#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

/// How `next_latent` measures a prediction: means over channels. `squared_and_cosine` is 0.1 squared + 0.9 (1 - cos).
enum class latent_distance { squared, smooth_l1, squared_and_cosine };
constexpr std::array<std::string_view, 3> names_of(latent_distance) {
  return {"squared", "smooth_l1", "squared_and_cosine"};
}

struct latent_parameters {
  linear_map projection;    // [d,D], [d]; only if the widths differ
  norm_parameters norm;     // [2 d]
  linear_map in, mid, out;  // [d,2 d], [d,d], [d,d]
};
/// All scratch, except the targets.
struct latent_activations {
  tensor<3> pooled, dpooled;    // [B,n,D]
  tensor<3> summary, dsummary;  // [B,n,d]: the linear map of `pooled`, or `pooled` itself
  tensor<4> latent, dlatent;    // [R+1,B,m,d]: entry 0 holds the embeddings
  tensor<4> first, second;      // [R,B,m,d], before GELU
  tensor<2> factor, mean;       // [R,B m]
  tensor<3> next;               // [B,m,d], summaries of one step, in backward their gradient
  tensor<3> joined, djoined;    // [B,m,2 d]
  tensor<3> normed;             // [B,m,2 d], in backward also its gradient
  tensor<3> activated;          // [B,m,d], in backward also its gradient
  tensor<3> dhidden;            // [B,m,d]
  tensor<1> lost;               // [B m]
  tensor<3> ends;               // targets [B,m,1]: the token that the predicted position ends with
};

template <class Table>
constexpr latent_parameters declare_latent(Table& table, const level_facts& level, std::size_t number,
                                           index_type embedding_dim) {
  using name = typename Table::name;
  const index_type dim = level.dim;
  latent_parameters own;
  if (dim != embedding_dim)
    own.projection = declare_linear_map(table, name("chunk_summarizers.") + number + ".proj", dim, embedding_dim,
                                        linear_initialisation(embedding_dim));
  const name prefix = name("latent_dynamics.") + number + ".net.";
  own.norm = declare_layer_norm(table, prefix + 0, 2 * dim);
  own.in = declare_linear_map(table, prefix + 1, dim, 2 * dim, linear_initialisation(2 * dim));
  own.mid = declare_linear_map(table, prefix + 3, dim, dim, linear_initialisation(dim));
  own.out = declare_linear_map(table, prefix + 5, dim, dim, zeros);  // at initialisation z = e_i
  return own;
}

struct next_latent;
constexpr latent_activations plan_latent(activation_plan& plan, const level_facts& level, index_type embedding_dim,
                                         const next_latent& options, index_type batch, index_type tokens);
constexpr double latent_flops(const level_facts& level, index_type embedding_dim, const next_latent& options,
                              index_type batch, index_type tokens);

struct next_latent {
  double weight = 0.25;
  latent_distance distance = latent_distance::squared_and_cosine;
  int rollouts = 1;              ///< steps from every embedding; each starts from the prediction before it
  double rollout_decay = 1;      ///< a step has weight exp(-rollout_decay x); x is the sum of earlier distances
  bool detach_summaries = true;  ///< no gradient reaches the summarised token embeddings
  bool detach_targets = true;    ///< no gradient reaches the target embeddings
  model_facts model = {};

  static constexpr std::string_view name = "next_latent";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("distance", own.distance);
    visit("rollouts", own.rollouts);
    visit("rollout_decay", own.rollout_decay);
    visit("detach_summaries", own.detach_summaries);
    visit("detach_targets", own.detach_targets);
  }
  void check() const {
    require(rollouts >= 1, "next_latent: rollouts must be positive, not ", rollouts);
    require(rollout_decay >= 0 && rollout_decay <= std::numeric_limits<float>::max(),
            "next_latent: rollout_decay must be finite and not negative, but is ", rollout_decay);
    // One roll-out, the default, is always valid: a level with one position predicts nothing.
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      require(rollouts <= 1 || rollouts <= (model.max_length - 1) / model.levels[l].stride, "next_latent: ", rollouts,
              " rollouts are more than the next positions that level ", l, " has in ", model.max_length, " tokens");
  }
  using parameters = each_level<latent_parameters>;
  using activations = each_level<latent_activations>;

  template <class Table>
  constexpr parameters declare(Table& table) const {
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      own[l] = declare_latent(table, model.levels[l], l, model.embedding_dim);
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      own[l] = plan_latent(plan, model.levels[l], model.embedding_dim, *this, batch, tokens);
    return own;
  }

  constexpr double head_flops(index_type batch, index_type tokens) const {
    double flops = 0;
    for (const level_facts& level : model.levels)
      flops += latent_flops(level, model.embedding_dim, *this, batch, tokens);
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters& own, const activations& acts, double scale,
                output<S, 1> loss) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (acts[l].latent)
        latent_level(context.p, model.levels[l], *this, own[l], acts[l], context.inputs, context.ignore_index,
                     context.tokens, context.embeddings[l], static_cast<S>(scale), loss, context.dtokens,
                     context.dembeddings[l]);
  }
};

constexpr latent_activations plan_latent(activation_plan& plan, const level_facts& level, index_type embedding_dim,
                                         const next_latent& options, index_type batch, index_type tokens) {
  const index_type positions = level.positions(tokens), rollouts = options.rollouts, predicting = positions - rollouts;
  const index_type dim = level.dim;
  latent_activations own;
  if (predicting <= 0) return own;
  const std::array<index_type, 3> of_tokens{batch, positions, embedding_dim}, of_level{batch, positions, dim},
      of_step{batch, predicting, dim}, of_joined{batch, predicting, 2 * dim};
  memory_plan scratch;
  own.pooled = own.summary = scratch.add<3>(of_tokens);
  if (dim != embedding_dim) own.summary = scratch.add<3>(of_level);
  own.latent = scratch.add<4>({rollouts + 1, batch, predicting, dim});
  own.first = scratch.add<4>({rollouts, batch, predicting, dim});
  own.second = scratch.add<4>({rollouts, batch, predicting, dim});
  own.factor = scratch.add<2>({rollouts, batch * predicting});
  own.mean = scratch.add<2>({rollouts, batch * predicting});
  own.next = scratch.add<3>(of_step);
  own.joined = scratch.add<3>(of_joined);
  own.normed = scratch.add<3>(of_joined);
  own.activated = scratch.add<3>(of_step);
  own.lost = scratch.add<1>({batch * predicting});
  own.ends = plan.targets.add<3>({batch, predicting, 1});
  if (plan.training) {
    own.dlatent = scratch.add<4>(own.latent.shape);
    own.dhidden = scratch.add<3>(of_step);
    own.djoined = scratch.add<3>(of_joined);
    own.dpooled = own.dsummary = scratch.add<3>(of_tokens);
    if (dim != embedding_dim) own.dsummary = scratch.add<3>(of_level);
  }
  plan.scratch_used(scratch);
  return own;
}

constexpr double latent_flops(const level_facts& level, index_type embedding_dim, const next_latent& options,
                              index_type batch, index_type tokens) {
  const double dim = level.dim, positions = static_cast<double>(level.positions(tokens)), rollouts = options.rollouts;
  if (positions <= rollouts) return 0;
  const double projection = level.dim == embedding_dim ? 0
                                                       : (options.detach_summaries ? 2 : 3) * 2 * positions * dim *
                                                             static_cast<double>(embedding_dim);
  return static_cast<double>(batch) * (projection + 3 * 2 * rollouts * (positions - rollouts) * 4 * dim * dim);
}

constexpr distance_settings settings_of(const next_latent& options) {
  distance_settings settings{.share = 1.0 / options.rollouts, .decay = options.rollout_decay};
  switch (options.distance) {
    case latent_distance::squared:
      break;
    case latent_distance::smooth_l1:
      settings.squared = 0;
      settings.smooth = 1;
      break;
    case latent_distance::squared_and_cosine:
      settings.squared = 0.1;
      settings.cosine = 0.9;
      break;
  }
  return settings;
}

/// LayerNorm([z ; summary]) of roll-out `step`, into `acts.normed`.
template <class Backend>
void latent_input(const pass<Backend>& p, const latent_parameters& own, const latent_activations& acts,
                  index_type step) {
  const auto z = p.scratch[acts.latent][step];
  const auto next = p.scratch[acts.next];
  const auto joined = p.scratch[acts.joined];
  unfold(p.backend, p.scratch[acts.summary], 1, 1, step + 1, next);
  repeat(p.backend, z, 1, index_type{0}, joined);
  repeat(p.backend, next, 1, next.shape[2], joined);
  layer_norm(p.backend, joined, p.weights[own.norm.gain], p.weights[own.norm.bias], 0, p.scratch[acts.normed],
             p.scratch[acts.factor][step], p.scratch[acts.mean][step]);
}

template <class Backend>
void latent_forward(const pass<Backend>& p, const latent_parameters& own, const latent_activations& acts,
                    index_type step) {
  const auto z = p.scratch[acts.latent][step], predicted = p.scratch[acts.latent][step + 1];
  const auto first = p.scratch[acts.first][step], second = p.scratch[acts.second][step];
  const auto activated = p.scratch[acts.activated];
  latent_input(p, own, acts, step);
  linear_map_forward(p, own.in, p.scratch[acts.normed].rows(), first.rows(), update::replace);
  gelu(p.backend, first.flat(), activated.flat());
  linear_map_forward(p, own.mid, activated.rows(), second.rows(), update::replace);
  gelu(p.backend, second.flat(), activated.flat());
  copy(p.backend, z.flat(), predicted.flat());
  linear_map_forward(p, own.out, activated.rows(), predicted.rows(), update::add);
}

/// From the gradient of a step's prediction, adds to the gradients of the step's input and of the summaries.
template <class Backend, class S = typename Backend::scalar>
void latent_backward(const pass<Backend>& p, const latent_parameters& own, const latent_activations& acts,
                     index_type step) {
  const auto dz = p.scratch[acts.dlatent][step], dpredicted = p.scratch[acts.dlatent][step + 1];
  const auto first = p.scratch[acts.first][step], second = p.scratch[acts.second][step];
  const auto activated = p.scratch[acts.activated], dfirst = activated, dsecond = p.scratch[acts.dhidden];
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  const auto djoined = p.scratch[acts.djoined], dnext = p.scratch[acts.next];
  gelu(p.backend, second.flat(), activated.flat());
  linear_map_backward(p, own.out, activated.rows(), dpredicted.rows(), dsecond.rows(), update::replace);
  gelu_backward(p.backend, second.flat(), dsecond.flat(), dsecond.flat());
  gelu(p.backend, first.flat(), activated.flat());
  linear_map_backward(p, own.mid, activated.rows(), dsecond.rows(), dfirst.rows(), update::replace);
  gelu_backward(p.backend, first.flat(), dfirst.flat(), dfirst.flat());
  latent_input(p, own, acts, step);
  linear_map_backward(p, own.in, normed.rows(), dfirst.rows(), dnormed.rows(), update::replace);
  fill(p.backend, S{0}, djoined.flat());
  layer_norm_backward(p.backend, p.scratch[acts.joined], p.weights[own.norm.gain], 0, p.scratch[acts.factor][step],
                      p.scratch[acts.mean][step], dnormed, djoined, p.gradients[own.norm.gain],
                      p.gradients[own.norm.bias]);
  add(p.backend, dpredicted.flat(), dz.flat());
  subsample(p.backend, djoined, 1, index_type{0}, dz);
  fill(p.backend, S{0}, dnext.flat());
  subsample(p.backend, djoined, 1, dnext.shape[2], dnext);
  unfold_backward(p.backend, dnext, 1, 1, step + 1, p.scratch[acts.dsummary]);
}

/// Adds the loss of one level and, if `dembedding` is not empty, its gradient times `scale`.
template <class Backend, class S = typename Backend::scalar>
void latent_level(const pass<Backend>& p, const level_facts& level, const next_latent& options,
                  const latent_parameters& own, const latent_activations& acts, view<const token, 2> ids, token ignore,
                  input<S, 3> tokens, input<S, 3> embedding, std::type_identity_t<S> scale, output<S, 1> loss,
                  output<S, 3> dtokens, output<S, 3> dembedding) {
  const index_type rollouts = options.rollouts;
  const bool gradients{dembedding};
  const auto pooled = p.scratch[acts.pooled];
  window_mean(p.backend, tokens, level.compression, level.stride, pooled);
  if (own.projection.weight)
    linear_map_forward(p, own.projection, pooled.rows(), p.scratch[acts.summary].rows(), update::replace);
  unfold(p.backend, embedding, 1, 1, index_type{0}, p.scratch[acts.latent][0]);
  const auto lost = p.scratch[acts.lost];
  fill(p.backend, S{0}, lost);
  for (index_type step = 0; step < rollouts; ++step) {
    latent_forward(p, own, acts, step);
    const auto ends = p.targets[acts.ends];
    window_targets(p.backend, ids, level.stride, (step + 1) * level.stride, ends);
    embedding_distance(p.backend, settings_of(options), p.scratch[acts.latent][step + 1], embedding, step + 1,
                       ends.flat(), ignore, scale, loss, lost,
                       gradients ? p.scratch[acts.dlatent][step + 1] : view<S, 3>{},
                       options.detach_targets ? view<S, 3>{} : dembedding);
  }
  if (!gradients) return;

  const auto dlatent = p.scratch[acts.dlatent][0], dsummary = p.scratch[acts.dsummary],
             dpooled = p.scratch[acts.dpooled];
  fill(p.backend, S{0}, dlatent.flat());
  fill(p.backend, S{0}, dsummary.flat());
  for (index_type step = rollouts - 1; step >= 0; --step) latent_backward(p, own, acts, step);
  unfold_backward(p.backend, dlatent, 1, 1, index_type{0}, dembedding);
  if (own.projection.weight)
    linear_backward_weight(p.backend, dsummary.rows(), pooled.rows(), p.gradients[own.projection.weight],
                           p.gradients[own.projection.bias]);
  if (options.detach_summaries) return;
  if (own.projection.weight)
    linear_backward_input(p.backend, dsummary.rows(), p.weights[own.projection.weight], dpooled.rows(),
                          update::replace);
  window_mean_backward(p.backend, dpooled, level.compression, level.stride, dtokens);
}

}  // namespace strata
