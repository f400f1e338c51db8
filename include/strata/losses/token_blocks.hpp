// What losses share in which every compressed level predicts c tokens at each position: block j of a linear map of the final
// embedding at level position i is token i s + first + j; those outside the text are not counted.
// Shapes: e_l [B,n,d] -> logits [B n c, V] -> loss [1]: mean a level, summed over levels.
// Source: docs/model.md.
#pragma once

#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

/// `Own` gives the name of its head, `head`, and the first token's distance from i s at a level, `first(level)`.
template <class Config, class Own>
struct token_block_loss {
  using F = facts<Config>;
  struct level_activations {
    tensor<2> logits;   // scratch [B n, c V]
    tensor<3> targets;  // [B,n,c]
  };
  using parameters = std::array<tensor<2>, F::level_count>;  // the head [c V, d]
  using activations = std::array<level_activations, F::level_count>;

  template <class Table>
  static constexpr parameters declare(Table& table) {
    using name_type = typename Table::name;
    parameters own;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      own[l] =
          table.template add<2>(name_type("compressors.") + l + Own::head,
                                {index_type{level.compression} * F::vocabulary, level.dim}, linear_start(level.dim));
    }
    return own;
  }

  static constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) {
    activations own;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      const index_type positions = level.positions(tokens);
      memory_plan scratch;
      own[l].logits = scratch.add<2>({batch * positions, index_type{level.compression} * F::vocabulary});
      own[l].targets = plan.targets.add<3>({batch, positions, level.compression});
      plan.scratch_used(scratch);
    }
    return own;
  }

  static constexpr double head_flops(index_type batch, index_type tokens) {
    return linear_head_flops<Config>(
        batch, tokens, [](const level_facts& level) { return double{F::vocabulary} * level.compression; });
  }

  template <class Backend, class S = typename Backend::scalar>
  static void evaluate(const loss_context<Config, Backend>& context, const parameters& own, const activations& acts,
                       double weight, output<S, 1> loss) {
    const auto& p = context.p;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      const auto targets = p.targets[acts[l].targets];
      window_targets(p.backend, context.inputs, level.stride, index_type{Own::first(level)}, targets);
      predict_blocks(context, l, own[l], p.scratch[acts[l].logits], targets, weight, loss);
    }
  }
};

}  // namespace strata
