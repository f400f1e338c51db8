// Every compressed level predicts what its next position will be about: the number of the nearest code in each of several
// books, after a projection. Projections and codes are random and never learned.
// Shapes: x_l, e_l [B,n,d] -> codes [B,m,books], logits [B n, books codes] -> loss [1]: mean a level, summed over levels.
// Source: docs/model.md; BEST-RQ, arXiv 2202.01855.
#pragma once

#include <string_view>

#include <strata/losses/context.hpp>
#include <strata/losses/prophet_tokens.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
struct prophet_quantized_loss {
  using F = facts<Config>;
  static constexpr prophet_quantized_options options = Config::prophet_quantized;
  static constexpr std::string_view name = "prophet_quantized";
  static constexpr double default_weight = 0.5;
  struct level_parameters {
    tensor<2> head;         // [books codes, d]
    tensor<3> projections;  // [books, d, code_dim], constant
    tensor<3> codebooks;    // [books, codes, code_dim], constant
  };
  struct level_activations {
    tensor<2> logits;   // scratch [B n, books codes]
    tensor<3> codes;    // [B,m,books]
    tensor<3> targets;  // [B,n,books]
  };
  using parameters = std::array<level_parameters, F::level_count>;
  using activations = std::array<level_activations, F::level_count>;

  template <class Table>
  static constexpr parameters declare(Table& table) {
    using name_type = typename Table::name;
    // The reference package has one prophet loss at a time and one name for its head.
    const char* const head = F::names_loss(prophet_tokens_loss<Config>::name) ? ".to_prophet_codes.weight"
                                                                              : prophet_tokens_loss<Config>::head;
    parameters own;
    for (int l = 0; l < F::level_count; ++l) {
      const index_type dim = F::levels[l].dim;
      if (!F::levels[l].compressed()) continue;
      const name_type quantizer = name_type("rand_proj_quantizers.") + l;
      own[l].head = table.template add<2>(name_type("compressors.") + l + head,
                                          {index_type{options.books} * options.codes, dim}, linear_start(dim));
      // Only directions count: the deviation merely keeps numbers near 1.
      own[l].projections =
          table.template add_constant<3>(quantizer + ".rand_projs", {options.books, dim, options.code_dim},
                                         {initial::kind::normal, linear_start(dim).scale});
      own[l].codebooks = table.template add_constant<3>(quantizer + ".vq._codebook.embed",
                                                        {options.books, options.codes, options.code_dim},
                                                        {initial::kind::directions, 1});
    }
    return own;
  }

  /// Positions whose codes count: whole groups of one position of each interleaved sequence.
  static constexpr index_type coded_positions(const level_facts& level, index_type tokens) {
    return level.positions(tokens) / level.dilation * level.dilation;
  }

  static constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) {
    activations own;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      const index_type positions = level.positions(tokens);
      memory_plan scratch;
      own[l].logits = scratch.add<2>({batch * positions, index_type{options.books} * options.codes});
      own[l].codes = plan.targets.add<3>({batch, coded_positions(level, tokens), options.books});
      own[l].targets = plan.targets.add<3>({batch, positions, options.books});
      plan.scratch_used(scratch);
    }
    return own;
  }

  /// The head's, and those of the quantiser, through which no gradient passes: projections, and products with all codes.
  static constexpr double head_flops(index_type batch, index_type tokens) {
    double flops = linear_head_flops<Config>(batch, tokens,
                                             [](const level_facts&) { return double{options.books} * options.codes; });
    for (const level_facts& level : F::levels)
      if (level.compressed())
        flops += 2.0 * static_cast<double>(batch * coded_positions(level, tokens)) * options.books * options.code_dim *
                 (level.dim + options.codes);
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  static void evaluate(const loss_context<Config, Backend>& context, const parameters& own, const activations& acts,
                       double weight, output<S, 1> loss) {
    const auto& p = context.p;
    for (int l = 0; l < F::level_count; ++l) {
      const level_facts& level = F::levels[l];
      if (!level.compressed()) continue;
      const auto codes = p.targets[acts[l].codes], targets = p.targets[acts[l].targets];
      const auto source =
          options.source == quantized_source::final_embeddings ? context.embeddings[l] : context.compressed[l];
      quantize(p.backend, source, p.weights[own[l].projections], p.weights[own[l].codebooks], codes);
      // Those of the next index of the same interleaved sequence.
      window_targets(p.backend, codes.template reshape<2>({codes.shape[0], codes.shape[1] * options.books}),
                     options.books, index_type{level.dilation} * options.books, targets);
      predict_blocks(context, l, own[l].head, p.scratch[acts[l].logits], targets, weight, loss);
    }
  }
};

}  // namespace strata
