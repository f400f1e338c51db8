// A program's own loss and merge. docs/extending.md explains how to write such classes.
#pragma once

#include <strata/strata.hpp>

namespace mine {

/// The embeddings of a compressed level should change smoothly: a linear map of each one gives the direction of the next,
/// 1 - mean cos(W e_i + b, e_{i+1}).
struct smoothness {
  double weight = 0.1;
  bool finest_too = false;  ///< also for levels without compression
  strata::model_facts model = {};

  static constexpr std::string_view name = "mine::smoothness";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("finest_too", own.finest_too);
  }

  using parameters = strata::each_level<strata::linear_map>;  // [d,d], [d]
  struct activations {
    strata::each_level<strata::tensor<3>> guess, dguess;  // scratch [B,n,d]
  };

  template <class Table>
  constexpr parameters declare(Table& table) const {
    using name_type = typename Table::name;
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      own[l] = strata::declare_linear_map(table, name_type("mine.smoothness.") + l, model.levels[l].dim,
                                          model.levels[l].dim, strata::linear_initialisation(model.levels[l].dim));
    return own;
  }
  constexpr activations plan(strata::activation_plan& plan, strata::index_type batch, strata::index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!concerns(l)) continue;
      strata::memory_plan scratch;
      own.guess[l] = scratch.add<3>({batch, model.levels[l].positions(tokens), model.levels[l].dim});
      if (plan.training) own.dguess[l] = scratch.add<3>(own.guess[l].shape);
      plan.scratch_used(scratch);
    }
    return own;
  }
  /// One product forward and two backward.
  constexpr double head_flops(strata::index_type batch, strata::index_type tokens) const {
    double flops = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (concerns(l))
        flops += 3 * 2.0 * static_cast<double>(batch * model.levels[l].positions(tokens)) * model.levels[l].dim *
                 model.levels[l].dim;
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const strata::loss_context<Backend>& context, const parameters& own, const activations& acts,
                double scale, strata::output<S, 1> loss) const {
    const auto& p = context.p;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!concerns(l)) continue;
      const auto embedding = context.embeddings[l], dembedding = context.dembeddings[l];
      const auto guess = p.scratch[acts.guess[l]];
      const auto dguess = context.gradients ? p.scratch[acts.dguess[l]] : strata::view<S, 3>{};
      linear_map_forward(p, own[l], embedding.rows(), guess.rows(), strata::update::replace);
      cosine_distance(p.backend, guess, embedding, static_cast<S>(scale), loss, dguess, dembedding);
      if (context.gradients)
        linear_map_backward(p, own[l], embedding.rows(), dguess.rows(), dembedding.rows(), strata::update::add);
    }
  }

 private:
  constexpr bool concerns(std::size_t l) const { return finest_too || model.levels[l].compressed(); }
};

/// One linear map of all levels, concatenated. Each receiving level adds its part of the result.
struct linear_merge {
  bool bias = true;
  strata::model_facts model = {};

  static constexpr std::string_view name = "mine::linear_merge";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("bias", own.bias);
  }

  struct parameters {
    strata::tensor<2> weight;  // [out, sum d]
    strata::tensor<1> bias;    // [out]
  };
  struct activations {
    strata::tensor<3> concatenated;   // [B,T,sum d]
    strata::tensor<3> dconcatenated;  // scratch [B,T,sum d]
    strata::tensor<3> merged;         // scratch [B,T,out], in backward its gradient
  };

  template <const auto& Own>
  static constexpr bool check() {
    constexpr bool several = Own.model.levels.size() > 1;
    static_assert(several, "mine::linear_merge needs two levels");
    return several;
  }

  template <class Table>
  constexpr parameters declare(Table& table, int layer) const {
    using name_type = typename Table::name;
    const name_type prefix = name_type("hierarchical_merges.") + layer + ".linear";
    const strata::index_type in = model.concatenated_dim();
    parameters own;
    own.weight = table.template add<2>(prefix + ".weight", {out_dim(), in}, strata::linear_initialisation(in));
    if (bias) own.bias = table.template add<1>(prefix + ".bias", {out_dim()}, strata::linear_initialisation(in));
    return own;
  }
  constexpr activations plan(strata::activation_plan& plan, strata::index_type batch, strata::index_type tokens) const {
    activations own;
    own.concatenated = plan.memory.add<3>({batch, tokens, model.concatenated_dim()});
    strata::memory_plan scratch;
    own.merged = scratch.add<3>({batch, tokens, out_dim()});
    if (plan.training) own.dconcatenated = scratch.add<3>(own.concatenated.shape);
    plan.scratch_used(scratch);
    return own;
  }
  constexpr double step_flops() const {
    return 2 * static_cast<double>(model.concatenated_dim()) * static_cast<double>(out_dim());
  }
  constexpr double forward_flops(strata::index_type batch, strata::index_type tokens) const {
    return static_cast<double>(batch * tokens) * step_flops();
  }

  template <class Backend, class S = typename Backend::scalar>
  void forward(const strata::pass<Backend>& p, const parameters& own, const activations& acts,
               strata::level_streams<S> x) const {
    add_merged(p, own, acts, 0, x, x);
  }
  template <class Backend, class S = typename Backend::scalar>
  void recompute(const strata::pass<Backend>& p, const parameters&, const activations& acts,
                 strata::level_streams<S> x) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      repeat(p.backend, x[l], model.levels[l].stride, strata::index_type{model.levels[l].first_channel},
             p.memory[acts.concatenated]);
  }
  template <class Backend, class S = typename Backend::scalar>
  void backward(const strata::pass<Backend>& p, const parameters& own, const activations& acts,
                strata::level_streams<S>, strata::level_streams<S> dx) const {
    const auto dmerged = p.scratch[acts.merged], dconcatenated = p.scratch[acts.dconcatenated];
    for_each_receiver([&](std::size_t l, strata::index_type column) {
      subsample_backward(p.backend, dx[l], model.levels[l].stride, column, dmerged);
    });
    linear_backward_weight(p.backend, dmerged.rows(), p.memory[acts.concatenated].rows(), p.gradients[own.weight],
                           p.gradients.optional(own.bias));
    linear_backward_input(p.backend, dmerged.rows(), p.weights[own.weight], dconcatenated.rows(),
                          strata::update::replace);
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      repeat_backward(p.backend, dconcatenated, model.levels[l].stride,
                      strata::index_type{model.levels[l].first_channel}, dx[l]);
  }
  /// One token at `position`: `current` holds the newest position of every level.
  template <class Backend, class S = typename Backend::scalar>
  void step(const strata::pass<Backend>& p, const parameters& own, const activations& acts, strata::index_type position,
            strata::level_streams<S> current, strata::level_streams<S> x) const {
    add_merged(p, own, acts, position, current, x);
  }

 private:
  /// The summed width of the receiving levels.
  constexpr strata::index_type out_dim() const {
    strata::index_type total = 0;
    for (const strata::level_facts& level : model.levels) total += level.receives ? level.dim : 0;
    return total;
  }
  /// Calls body(level, column) for every receiving level and the first column of its part.
  template <class Body>
  void for_each_receiver(Body body) const {
    strata::index_type column = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      body(l, column);
      column += model.levels[l].dim;
    }
  }
  template <class Backend, class S = typename Backend::scalar>
  void add_merged(const strata::pass<Backend>& p, const parameters& own, const activations& acts,
                  strata::index_type position, strata::level_streams<S> from, strata::level_streams<S> x) const {
    recompute(p, own, acts, from);
    const auto merged = p.scratch[acts.merged];
    strata::linear(p, p.memory[acts.concatenated].rows(), own.weight, own.bias, merged.rows(), strata::update::replace);
    for_each_receiver([&](std::size_t l, strata::index_type column) {
      if (model.receives_at(l, position)) subsample(p.backend, merged, model.levels[l].stride, column, x[l]);
    });
  }
};

}  // namespace mine
