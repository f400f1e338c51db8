// All parameters of a model: their offsets at compile time, their names and initialisation at run time.
// Shapes: one flat buffer; gradients and moments of the optimizer share its layout.
// Source: names are those of the reference package's state dict (simple-hierarchical-transformer 0.2.0).
#pragma once

#include <array>
#include <tuple>
#include <utility>
#include <vector>

#include <strata/backend/backend.hpp>
#include <strata/config/facts.hpp>
#include <strata/layers/block.hpp>
#include <strata/layers/compress.hpp>
#include <strata/layers/embedding.hpp>
#include <strata/layers/head.hpp>
#include <strata/layers/learned_boundaries.hpp>
#include <strata/layers/ngrams.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {

/// Offsets of the network's parameters.
template <const auto& D>
struct parameter_layout {
  using F = facts<D>;
  struct layer {
    std::array<block_parameters, F::level_count> blocks;
    typename merge_of<D>::parameters merge;
  };
  embedding_parameters embedding;
  ngram_parameters<F::ngrams.size()> ngrams;
  std::array<compress_parameters, F::level_count> compress;
  std::array<norm_parameters, F::level_count> embedding_norm;
  std::array<layer, F::depth> layers;
  std::array<upsample_parameters, F::level_count> upsample;
  std::array<boundary_parameters, F::level_count> boundaries;
  std::array<norm_parameters, F::level_count> final_norm;
  head_parameters head;
};

/// Adds every parameter of the network to `table`, in data-flow order.
template <const auto& D, class Table>
constexpr parameter_layout<D> declare_network(Table& table) {
  using F = facts<D>;
  using name = typename Table::name;
  parameter_layout<D> own;
  own.embedding = declare_embedding(table, F::vocabulary, F::embedding_dim);
  own.ngrams = declare_ngrams(table, F::ngrams);
  for (int l = 0; l < F::level_count; ++l) {
    own.compress[l] = declare_compress(table, F::levels[l], l, F::source_dim(l));
    own.embedding_norm[l] = declare_layer_norm(table, name("post_token_emb_norms.") + l, F::levels[l].dim);
  }
  for (int i = 0; i < F::depth; ++i) {
    auto& blocks = own.layers[i].blocks;
    for (int l = 0; l < F::level_count; ++l)
      if (F::upsample_layer(l) == i) {
        // Of two levels there is one, whose name has no number.
        const name prefix = F::level_count == 2 ? name("upsample") : name("upsample.") + l;
        own.upsample[l] = declare_upsample(table, prefix, F::levels[l], F::source_dim(l));
      }
    for (int l = 0; l < F::level_count; ++l)
      if (F::first_layer(l) == i && F::levels[l].learned_boundaries)
        own.boundaries[l] = declare_boundaries(table, l, F::source_dim(l));
    for (int l = 0; l < F::level_count; ++l)
      if (F::runs(i, l))
        blocks[l] = declare_block(table, F::levels[l], i, l, blocks[F::levels[l].attention_of].attention);
    if (F::merges) own.layers[i].merge = chosen_merge<D>.declare(table, i);
  }
  for (int l = 0; l < F::level_count; ++l)
    own.final_norm[l] = declare_layer_norm(table, name("norms.") + l, F::levels[l].dim);
  own.head = declare_head(table, F::vocabulary, F::logits_dim);
  return own;
}

/// Offsets of the parameters of each loss.
template <class All>
struct loss_parameters_of;
template <class... Loss>
struct loss_parameters_of<std::tuple<Loss...>> {
  using type = std::tuple<typename Loss::parameters...>;
};
template <class Losses>
using loss_parameters = typename loss_parameters_of<typename Losses::all>::type;

/// Adds every parameter of the losses to `table`.
template <const auto& D, class Losses, class Table>
constexpr loss_parameters<Losses> declare_losses(Table& table) {
  loss_parameters<Losses> own;
  table.begin_losses();
  const Losses losses = Losses().of_model(facts<D>::model);
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    ((std::get<I>(own) = losses.template at<I>().declare(table)), ...);
  }
  (std::make_index_sequence<Losses::count>());
  return own;
}

/// The parameters of the model that `D` describes: first those of its network, then those of its losses `Learns`.
template <const auto& D, class Learns = default_losses>
struct parameters {
  using losses_type = losses_of<Learns>;
  struct layout_type {
    parameter_layout<D> network;
    loss_parameters<losses_type> losses;
  };

 private:
  template <class Table>
  static constexpr layout_type declare(Table& table) {
    layout_type own;
    own.network = declare_network<D>(table);
    own.losses = declare_losses<D, losses_type>(table);
    return own;
  }

 public:
  static constexpr parameter_regions regions = [] {
    parameter_plan plan;
    declare(plan);
    return plan.regions();
  }();
  static constexpr parameter_plan plan = [] {
    parameter_plan result(regions);
    declare(result);
    return result;
  }();
  static constexpr layout_type layout = [] {
    parameter_plan discarded(regions);
    return declare(discarded);
  }();
  static constexpr index_type count = plan.parameters();
  static constexpr index_type in_tables = plan.table_parameters();  ///< of these, in n-gram tables
  static constexpr index_type buffer_size = plan.buffer_size();
  /// Elements of all but the n-gram tables, which lie behind them.
  static constexpr index_type dense_size = regions.first_table;

  /// Number of entries of the network; they come first.
  static index_type network_entries() {
    static const index_type count = [] {
      parameter_table network(regions);
      declare_network<D>(network);
      return static_cast<index_type>(network.entries().size());
    }();
    return count;
  }
  /// The hidden matrices, which Muon updates.
  static const std::vector<matrix_place>& hidden_matrices() {
    static const std::vector<matrix_place> all = [] {
      std::vector<matrix_place> result;
      for (const parameter_entry& entry : entries()) {
        if (entry.kind != parameter_kind::hidden_matrix) continue;
        const index_type rows = entry.shape[0] / entry.parts, columns = entry.size / entry.shape[0];
        for (int part = 0; part < entry.parts; ++part)
          result.push_back({entry.offset + part * rows * columns, rows, columns});
      }
      return result;
    }();
    return all;
  }
  /// Names, shapes in files, offsets and initialisation, in data-flow order.
  static const std::vector<parameter_entry>& entries() {
    static const parameter_table table = [] {
      parameter_table result(regions);
      declare(result);
      return result;
    }();
    return table.entries();
  }
};

}  // namespace strata
