// Every compressed level predicts the codes of its next position. A code is the number of the nearest vector in a book,
// after a projection; there are several books. Projections and books are random and never learned.
// Shapes: x_l, e_l [B,n,d] -> codes [B,m,books], logits [B n, books codes] -> loss [1]: mean per level, summed.
// Source: docs/model.md; BEST-RQ, arXiv 2202.01855.
#pragma once

#include <array>
#include <string_view>

#include <strata/losses/context.hpp>
#include <strata/losses/prophet_tokens.hpp>

namespace strata::inline STRATA_ABI {

/// What the codes are made from: a level's compressed tokens before their norm, or its final embeddings.
enum class quantized_source { compressed_tokens, final_embeddings };
constexpr std::array<std::string_view, 2> names_of(quantized_source) {
  return {"compressed_tokens", "final_embeddings"};
}

/// Each position has one code per book. There are `Books` books of `Codes` codes of width `CodeDim`.
template <int Books = 4, int Codes = 1024, int CodeDim = 16>
struct basic_prophet_quantized {
  static_assert(Books >= 1 && Codes >= 2 && CodeDim >= 1,
                "strata: prophet_quantized needs at least 1 book of 2 codes of code_dim 1");
  static constexpr index_type books = Books, codes = Codes, code_dim = CodeDim;
  double weight = 0.5;
  quantized_source source = quantized_source::compressed_tokens;
  model_facts model = {};

  static constexpr std::string_view name = "prophet_quantized";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("source", own.source);
  }
  struct level_parameters {
    tensor<2> head;         // [books codes, d]
    tensor<3> projections;  // [books, d, code_dim], constant
    tensor<3> codebooks;    // [books, codes, code_dim], constant
  };
  struct level_activations {
    tensor<2> logits;   // scratch [B n, books codes]
    tensor<3> chosen;   // [B,m,books], codes
    tensor<3> targets;  // [B,n,books]
  };
  using parameters = each_level<level_parameters>;
  using activations = each_level<level_activations>;

  template <class Table>
  constexpr parameters declare(Table& table) const {
    using name_type = typename Table::name;
    // The reference package has one prophet loss at a time, and one name for both heads.
    const char* const head =
        model.has_loss(prophet_tokens::name) ? ".to_prophet_codes.weight" : tokens_after_position::head;
    parameters own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type dim = model.levels[l].dim;
      if (!model.levels[l].compressed()) continue;
      const name_type quantizer = name_type("rand_proj_quantizers.") + l;
      own[l].head =
          table.template add<2>(name_type("compressors.") + l + head, {books * codes, dim}, linear_initialisation(dim));
      // Only directions matter; this deviation keeps numbers near 1.
      own[l].projections =
          table.template add_constant<3>(quantizer + ".rand_projs", {books, dim, code_dim},
                                         {initialisation::kind::normal, linear_initialisation(dim).scale});
      own[l].codebooks = table.template add_constant<3>(quantizer + ".vq._codebook.embed", {books, codes, code_dim},
                                                        {initialisation::kind::directions, 1});
    }
    return own;
  }

  /// Positions whose codes count: equally many of each interleaved sequence.
  static constexpr index_type coded_positions(const level_facts& level, index_type tokens) {
    return level.positions(tokens) / level.dilation * level.dilation;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      const index_type positions = level.positions(tokens);
      memory_plan scratch;
      own[l].logits = scratch.add<2>({batch * positions, books * codes});
      own[l].chosen = plan.targets.add<3>({batch, coded_positions(level, tokens), books});
      own[l].targets = plan.targets.add<3>({batch, positions, books});
      plan.scratch_used(scratch);
    }
    return own;
  }

  /// FLOPs of the head and of the quantiser, which has no backward: projections, and inner products with all codes.
  constexpr double head_flops(index_type batch, index_type tokens) const {
    double flops =
        linear_head_flops(model, batch, tokens, [](const level_facts&) { return static_cast<double>(books) * codes; });
    for (const level_facts& level : model.levels)
      if (level.compressed())
        flops +=
            2.0 * static_cast<double>(batch * coded_positions(level, tokens)) * books * code_dim * (level.dim + codes);
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters& own, const activations& acts, double scale,
                output<S, 1> loss) const {
    const auto& p = context.p;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const level_facts& level = model.levels[l];
      if (!level.compressed()) continue;
      const auto chosen = p.targets[acts[l].chosen], targets = p.targets[acts[l].targets];
      const auto quantized =
          source == quantized_source::final_embeddings ? context.embeddings[l] : context.compressed[l];
      quantize(p.backend, quantized, p.weights[own[l].projections], p.weights[own[l].codebooks], chosen);
      // Targets are the codes of the next index in the same interleaved sequence.
      window_targets(p.backend, chosen.template reshape<2>({chosen.shape[0], chosen.shape[1] * books}), books,
                     index_type{level.dilation} * books, targets);
      predict_blocks(context, l, own[l].head, p.scratch[acts[l].logits], targets, scale, loss);
    }
  }
};

using prophet_quantized = basic_prophet_quantized<>;

}  // namespace strata
