// Where a pass stores everything it computes, planned from the description, batch and length before the first step.
// Shapes: offsets in the activation memory, the scratch memory and the memory of targets.
#pragma once

#include <array>
#include <tuple>

#include <strata/config/facts.hpp>
#include <strata/layers/block.hpp>
#include <strata/layers/compress.hpp>
#include <strata/layers/head.hpp>
#include <strata/layers/learned_boundaries.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>
#include <strata/model/cuts.hpp>

namespace strata::inline STRATA_ABI {

/// The purpose of activations. In inference and when recomputing, all layers share one set. Recomputing keeps the
/// streams between layers; the backward pass computes the rest again, with the same bits.
enum class activation_use { inference, training, recomputing };

/// Offsets of the network's activations and of the gradients of its embeddings.
template <const auto& D>
struct activation_layout {
  using F = facts<D>;
  template <class T>
  using each_level = std::array<T, F::level_count>;
  struct layer {
    each_level<block_activations> blocks;
    each_level<tensor<3>> shown;  // [B,T,d], what merges see of a ragged level: at every token the newest position
    typename merge_of<D>::activations merge;
  };
  tensor<3> tokens;  // [B,T,D]
  dropout_layer embedding_dropout;
  each_level<tensor<3>> source;  // input of a level: the tokens or, in an hourglass, the next finer stream
  each_level<compress_activations> compress;
  each_level<norm_activations> embedding_norm;
  each_level<tensor<3>> token_embedding;  // [B,n,d], output of that norm, input of the first layer
  each_level<tensor<3>> rotary;           // [4, indices of a sequence, E/2]
  std::array<layer, F::depth> layers;
  each_level<upsample_activations> upsample;
  each_level<boundary_activations> boundaries;
  each_level<tensor<3>> last_stream;  // [B,n,d], output of the last layer
  each_level<norm_activations> final_norm;
  each_level<tensor<3>> embedding;  // [B,n,d], output of that norm
  head_activations head;
  each_level<tensor<3>> dembedding;  // gradient of the final embeddings, later of the compressed tokens
  each_level<tensor<3>> dstream;     // gradient of the residual stream
  each_level<tensor<3>> dshown;      // [B,T,d], gradient of what merges see of a ragged level
  tensor<3> dtokens;                 // [B,T,D]
  activation_use use = activation_use::training;
  index_type memory_size = 0, scratch_size = 0, targets_size = 0;  // elements
  index_type rows_size = 0;                                        // of the targets, at their front: rows of routing
};

template <class All>
struct loss_activations_of;
template <class... Loss>
struct loss_activations_of<std::tuple<Loss...>> {
  using type = std::tuple<typename Loss::activations...>;
};

/// Adds the offsets of the losses.
template <const auto& D, class Losses>
struct training_layout : activation_layout<D> {
  typename loss_activations_of<typename Losses::all>::type losses;
  tensor<1> loss;  // one number a loss, 16 elements apart
};

/// For a pass over [batch, tokens] with levels of these shapes. `losses` are the model's, with their options.
template <const auto& D, class Losses>
constexpr training_layout<D, Losses> plan_activations(const Losses& losses, index_type batch, index_type tokens,
                                                      activation_use use, dropout_rates dropout,
                                                      const stream_shapes<D>& shapes) {
  using F = facts<D>;
  training_layout<D, Losses> own;
  own.use = use;
  const bool training = use != activation_use::inference;
  activation_plan plan;
  plan.training = training;
  plan.dropout = dropout;
  memory_plan& memory = plan.memory;
  const auto stream_of = [&](int l) {
    return std::array<index_type, 3>{shapes[l].batch, shapes[l].positions, F::levels[l].dim};
  };

  own.tokens = memory.add<3>({batch, tokens, F::embedding_dim});
  own.embedding_dropout = plan.add_dropout(dropout.embedding);
  if (training) own.dtokens = memory.add<3>(own.tokens.shape);
  // Input and output of each layer of a level; both are the same where the level does not run. In inference two buffers
  // alternate.
  typename activation_layout<D>::template each_level<std::array<tensor<3>, F::depth>> enters, leaves;
  const auto plan_streams = [&](int l) {
    const level_facts& level = F::levels[l];
    tensor<3> source = own.tokens;
    if (level.from >= 0) source = enters[level.from][F::first_layer(l)];
    own.source[l] = source;
    own.compress[l] = plan_compress(plan, level, shapes[l].batch, shapes[l].positions, source);
    own.embedding_norm[l] = plan_norm(memory, shapes[l].batch * shapes[l].positions);
    if (level.span > 0)
      own.rotary[l] = memory.add<3>({4, level.sequence_length(shapes[l].longest, 0), level.head_dim / 2});
    // Never reused: the model shows it after a pass.
    tensor<3> stream = own.token_embedding[l] = memory.add<3>(stream_of(l));
    std::array<tensor<3>, 2> alternating;
    auto next_stream = [&, n = 0]() mutable {
      tensor<3>& next = alternating[n % 2];
      if (training || n < 2) next = memory.add<3>(stream_of(l));
      ++n;
      return next;
    };
    for (int i = 0; i < F::depth; ++i) {
      for (int coarser = 0; coarser < F::level_count; ++coarser)
        if (F::levels[coarser].from == l && F::upsample_layer(coarser) == i) stream = next_stream();
      enters[l][i] = stream;
      if (F::runs(i, l)) stream = next_stream();
      leaves[l][i] = stream;
    }
    own.last_stream[l] = stream;
    for (int coarser = 0; coarser < F::level_count; ++coarser)
      if (F::levels[coarser].from == l && F::levels[coarser].learned_boundaries)
        own.boundaries[coarser] = plan_boundaries(plan, enters[l][F::first_layer(coarser)]);
    if (level.from < 0) return;
    own.upsample[l] = plan_upsample(plan, level, own.last_stream[l], source, enters[level.from][F::upsample_layer(l)]);
    if (level.learned_boundaries) plan_smoothing(plan, source, stream_of(l), own.boundaries[l]);
  };
  // Groups lie one after another: where a group lies does not depend on the positions of the next.
  for (int group = 0; group < F::groups; ++group) {
    for (const int l : F::by_compression)
      if (F::group(l) == group) plan_streams(l);
    const memory_plan before_layers = memory, rows_before = plan.targets;
    memory_plan longest = memory, longest_rows = plan.targets;
    for (int i = 0; i < F::depth; ++i) {
      if (use != activation_use::training) {
        memory = before_layers;
        plan.targets = rows_before;
      }
      for (int l = 0; l < F::level_count; ++l)
        if (F::runs(i, l) && F::group(l) == group)
          own.layers[i].blocks[l] =
              plan_block(plan, F::levels[l], shapes[l].batch, shapes[l].positions, enters[l][i], leaves[l][i]);
      for (int l = 0; F::merges && l < F::level_count; ++l)
        if (F::levels[l].ragged) own.layers[i].shown[l] = memory.add<3>({batch, tokens, F::levels[l].dim});
      if (F::merges) own.layers[i].merge = chosen_merge<D>.plan(plan, batch, tokens);
      if (memory.size() > longest.size()) longest = memory;
      if (plan.targets.size() > longest_rows.size()) longest_rows = plan.targets;
    }
    // Layers of other levels may need more than the last one, and run between those that read what follows.
    memory = longest;
    plan.targets = longest_rows;
    if (group == 0) own.rows_size = plan.targets.size();
    for (int l = 0; l < F::level_count; ++l) {
      if (F::group(l) != group) continue;
      own.final_norm[l] = plan_norm(memory, shapes[l].batch * shapes[l].positions);
      own.embedding[l] = memory.add<3>(stream_of(l));
      if (F::leaves_early(l)) own.upsample[l].coarse = own.embedding[l];
    }
    if (group == 0) {
      own.head = plan_head(plan, F::logits_from_all ? F::concatenated_dim : 0, F::vocabulary, batch, tokens);
      [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((std::get<I>(own.losses) = losses.template at<I>().plan(plan, batch, tokens)), ...);
      }
      (std::make_index_sequence<Losses::count>());
      own.loss = memory.add<1>({index_type{Losses::count} * 16});
    }
    for (int l = 0; training && l < F::level_count; ++l) {
      if (F::group(l) != group) continue;
      own.dembedding[l] = memory.add<3>(stream_of(l));
      own.dstream[l] = memory.add<3>(stream_of(l));
      if (F::merges && F::levels[l].ragged) own.dshown[l] = memory.add<3>({batch, tokens, F::levels[l].dim});
    }
  }
  own.memory_size = memory.size();
  own.scratch_size = plan.scratch_size;
  own.targets_size = plan.targets.size();
  return own;
}

/// The same where boundaries do not follow the text; else with the positions that such a level has on average.
template <const auto& D, class Losses>
constexpr training_layout<D, Losses> plan_activations(const Losses& losses, index_type batch, index_type tokens,
                                                      activation_use use, dropout_rates dropout = {}) {
  return plan_activations<D>(losses, batch, tokens, use, dropout, mean_shapes<D>(batch, tokens));
}

/// For generation and inference, with no loss but that of the next token.
template <const auto& D>
constexpr training_layout<D, losses<>> plan_inference(index_type batch, index_type tokens) {
  return plan_activations<D>(losses<>(), batch, tokens, activation_use::inference);
}

}  // namespace strata
