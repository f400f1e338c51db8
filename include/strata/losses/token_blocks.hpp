// Losses in which every compressed level predicts c tokens at each position. Block j of a linear map of the final
// embedding at level position i predicts token i s + first + j. Tokens outside the text are not counted.
// Shapes: e_l [B,n,d] -> logits [B n c, V] -> loss [1]: mean per level, summed over levels.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

/// `Which` holds the name, the default weight, the name of the head, and the offset of the first token from i s.
template <class Which>
struct token_blocks {
  double weight = Which::default_weight;
  model_facts model = {};

  static constexpr std::string_view name = Which::name;
  struct level_activations {
    tensor<2> logits;   // scratch [B n, c V]
    tensor<3> targets;  // [B,n,c]
  };
  using parameters = each_level<tensor<2>>;  // the head [c V, d]
  using activations = each_level<level_activations>;

  template <class Table>
  constexpr parameters declare(Table& table) const {
    using name_type = typename Table::name;
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      own[l] = table.template add<2>(name_type("compressors.") + l + Which::head,
                                     {index_type{level.compression} * model.vocabulary, level.dim},
                                     linear_initialisation(level.dim));
    }
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      const index_type positions = level.positions(tokens);
      memory_plan scratch;
      own[l].logits = scratch.add<2>({batch * positions, index_type{level.compression} * model.vocabulary});
      own[l].targets = plan.targets.add<3>({batch, positions, level.compression});
      plan.scratch_used(scratch);
    }
    return own;
  }

  constexpr double head_flops(index_type batch, index_type tokens) const {
    return linear_head_flops(model, batch, tokens, [this](const level_facts& level) {
      return static_cast<double>(model.vocabulary) * level.compression;
    });
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters& own, const activations& acts, double scale,
                output<S, 1> loss) const {
    const auto& p = context.p;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      const auto targets = p.targets[acts[l].targets];
      window_targets(p.backend, context.inputs, level.stride, index_type{Which::first(level)}, targets);
      predict_blocks(context, l, own[l], p.scratch[acts[l].logits], targets, scale, loss);
    }
  }
};

}  // namespace strata
