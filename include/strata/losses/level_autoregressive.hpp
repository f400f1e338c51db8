// Every compressed level predicts the direction of its own next embedding: 1 - mean cos(linear(e_i), e_{i+1}).
// Shapes: e_l [B,n,d] -> loss [1], summed over levels.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/layers/linear_map.hpp>
#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
struct level_autoregressive_loss {
  using F = facts<Config>;
  static constexpr std::string_view name = "level_autoregressive";
  static constexpr double default_weight = 0.25;
  struct level_activations {
    tensor<3> prediction, dprediction;  // scratch [B,n,d]
  };
  using parameters = std::array<linear_map, F::level_count>;  // [d,d]
  using activations = std::array<level_activations, F::level_count>;

  template <class Table>
  static constexpr parameters declare(Table& table) {
    using name_type = typename Table::name;
    parameters own;
    for (int l = 0; l < F::level_count; ++l) {
      const index_type dim = F::levels[l].dim;
      if (!F::levels[l].compressed()) continue;
      own[l] = declare_linear_map(table, name_type("to_hierarchical_preds.") + l, dim, dim, linear_start(dim));
    }
    return own;
  }

  static constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) {
    activations own;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      memory_plan scratch;
      own[l].prediction = scratch.add<3>({batch, level.positions(tokens), level.dim});
      own[l].dprediction = scratch.add<3>({batch, level.positions(tokens), level.dim});
      plan.scratch_used(scratch);
    }
    return own;
  }

  static constexpr double head_flops(index_type batch, index_type tokens) {
    return linear_head_flops<Config>(batch, tokens, [](const level_facts& level) { return level.dim; });
  }

  template <class Backend, class S = typename Backend::scalar>
  static void evaluate(const loss_context<Config, Backend>& context, const parameters& own, const activations& acts,
                       double weight, output<S, 1> loss) {
    const auto& p = context.p;
    for (int l = 0; l < F::level_count; ++l) {
      if (!F::levels[l].compressed()) continue;
      const auto embedding = context.embeddings[l];
      const auto prediction = p.scratch[acts[l].prediction];
      const auto dprediction = p.scratch[acts[l].dprediction];
      linear_map_forward(p, own[l], embedding.rows(), prediction.rows(), update::replace);
      cosine_distance(p.backend, prediction, embedding, static_cast<S>(weight), loss,
                      context.gradients ? dprediction : view<S, 3>{}, context.dembeddings[l]);
      if (context.gradients)
        linear_map_backward(p, own[l], embedding.rows(), dprediction.rows(), context.dembeddings[l].rows(),
                            update::add);
    }
  }
};

}  // namespace strata
