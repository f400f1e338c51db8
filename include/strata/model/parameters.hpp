// All parameters of a model: their places at compile time, their names and starts at run time.
// Shapes: one flat buffer; gradients and moments of the optimizer share its layout.
// Source: names are those of the reference package's state dict (simple-hierarchical-transformer 0.2.0).
#pragma once

#include <array>
#include <tuple>
#include <vector>

#include <strata/config/facts.hpp>
#include <strata/layers/block.hpp>
#include <strata/layers/compress.hpp>
#include <strata/layers/embedding.hpp>
#include <strata/layers/head.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {

template <class Losses>
struct parameters_of_losses;
template <class... Loss>
struct parameters_of_losses<std::tuple<Loss...>> {
  using type = std::tuple<typename Loss::parameters...>;
};

template <class Config>
struct parameter_layout {
  using F = facts<Config>;
  struct layer {
    std::array<block_parameters, F::level_count> blocks;
    typename merge_of<Config>::parameters merge;
  };
  embedding_parameters embedding;
  std::array<compress_parameters, F::level_count> compress;
  std::array<norm_parameters, F::level_count> embedding_norm;
  std::array<layer, F::depth> layers;
  upsample_parameters upsample;
  std::array<norm_parameters, F::level_count> final_norm;
  head_parameters head;
  typename parameters_of_losses<loss_list<Config>>::type losses;
};

/// Adds every parameter to `table` but those of the losses, in data-flow order.
template <class Config, class Table>
constexpr parameter_layout<Config> declare_network(Table& table) {
  using F = facts<Config>;
  using name = typename Table::name;
  parameter_layout<Config> own;
  own.embedding = declare_embedding(table, F::vocabulary, F::embedding_dim);
  for (int l = 0; l < F::level_count; ++l) {
    own.compress[l] = declare_compress(table, F::levels[l], l, F::embedding_dim);
    own.embedding_norm[l] = declare_layer_norm(table, name("post_token_emb_norms.") + l, F::levels[l].dim);
  }
  for (int i = 0; i < F::depth; ++i) {
    auto& blocks = own.layers[i].blocks;
    if (i == F::upsample_layer) own.upsample = declare_upsample(table, F::levels[F::coarse], F::levels[F::fine].dim);
    for (int l = 0; l < F::level_count; ++l)
      if (F::runs(i, l))
        blocks[l] = declare_block(table, F::levels[l], i, l, blocks[F::levels[l].attention_of].attention);
    if (F::merges) own.layers[i].merge = chosen_merge<Config>.declare(table, i);
  }
  for (int l = 0; l < F::level_count; ++l)
    own.final_norm[l] = declare_layer_norm(table, name("norms.") + l, F::levels[l].dim);
  own.head = declare_head(table, F::vocabulary, F::logits_dim);
  return own;
}

/// As `declare_network`, and after them the parameters of the losses.
template <class Config, class Table>
constexpr parameter_layout<Config> declare_parameters(Table& table) {
  parameter_layout<Config> own = declare_network<Config>(table);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((std::get<I>(own.losses) = std::tuple_element_t<I, loss_list<Config>>::declare(table)), ...);
  }
  (std::make_index_sequence<loss_values<Config>::count>());
  return own;
}

/// The parameters of a model description.
template <class Config>
struct parameters {
  static constexpr parameter_regions regions = [] {
    parameter_plan plan;
    declare_parameters<Config>(plan);
    return plan.regions();
  }();
  static constexpr parameter_plan plan = [] {
    parameter_plan result(regions);
    declare_parameters<Config>(result);
    return result;
  }();
  static constexpr parameter_layout<Config> layout = [] {
    parameter_plan discarded(regions);
    return declare_parameters<Config>(discarded);
  }();
  static constexpr index_type count = plan.parameters();
  static constexpr index_type buffer_size = plan.buffer_size();

  /// Names, shapes in files, places and starts, in data-flow order.
  static const std::vector<parameter_entry>& entries() {
    static const parameter_table table = [] {
      parameter_table result(regions);
      declare_parameters<Config>(result);
      return result;
    }();
    return table.entries();
  }
};

}  // namespace strata
