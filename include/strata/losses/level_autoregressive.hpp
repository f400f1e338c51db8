// Every compressed level predicts the direction of its own next embedding: 1 - mean cos(linear(e_i), e_{i+1}).
// Shapes: e_l [B,n,d] -> loss [1], summed over levels.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/layers/linear_map.hpp>
#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

struct level_autoregressive {
  double weight = 0.25;
  model_facts model = {};

  static constexpr std::string_view name = "level_autoregressive";
  struct level_activations {
    tensor<3> prediction, dprediction;  // scratch [B,n,d]
  };
  using parameters = each_level<linear_map>;  // [d,d]
  using activations = each_level<level_activations>;

  template <class Table>
  constexpr parameters declare(Table& table) const {
    using name_type = typename Table::name;
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type dim = model.levels[l].dim;
      if (!model.levels[l].compressed()) continue;
      own[l] = declare_linear_map(table, name_type("to_hierarchical_preds.") + l, dim, dim, linear_initialisation(dim));
    }
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      memory_plan scratch;
      own[l].prediction = scratch.add<3>({batch, level.positions(tokens), level.dim});
      own[l].dprediction = scratch.add<3>({batch, level.positions(tokens), level.dim});
      plan.scratch_used(scratch);
    }
    return own;
  }

  constexpr double head_flops(index_type batch, index_type tokens) const {
    return linear_head_flops(model, batch, tokens, [](const level_facts& level) { return level.dim; });
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters& own, const activations& acts, double scale,
                output<S, 1> loss) const {
    const auto& p = context.p;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].compressed()) continue;
      const auto embedding = context.embeddings[l];
      const auto prediction = p.scratch[acts[l].prediction];
      const auto dprediction = p.scratch[acts[l].dprediction];
      linear_map_forward(p, own[l], embedding.rows(), prediction.rows(), update::replace);
      cosine_distance(p.backend, prediction, embedding, static_cast<S>(scale), loss,
                      context.gradients ? dprediction : view<S, 3>{}, context.dembeddings[l]);
      if (context.gradients)
        linear_map_backward(p, own[l], embedding.rows(), dprediction.rows(), context.dembeddings[l].rows(),
                            update::add);
    }
  }
};

}  // namespace strata
