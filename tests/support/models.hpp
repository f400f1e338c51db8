// What tests of whole models share: descriptions of every kind of level, and random ids.
#pragma once

#include <cstdint>
#include <vector>

#include <strata/strata.hpp>

#include "golden/cases.hpp"

namespace models {

/// Windowed, strided full attention and no attention; odd widths; merging into all, logits from all; every loss.
struct mixed : strata::model_defaults {
  static constexpr int vocabulary = 67, max_length = 64, depth = 2;
  static constexpr int receiving_levels[] = {strata::every_level};
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
  static constexpr std::string_view losses[] = {"reconstruction",    "level_autoregressive", "prophet_tokens",
                                                "prophet_quantized", "sigmoid_contrastive",  "next_latent"};
  static constexpr strata::prophet_quantized_options prophet_quantized{.books = 3, .codes = 19, .code_dim = 5};
  static constexpr strata::next_latent_options next_latent = {
      .distance = strata::latent_distance::smooth_l1, .rollouts = 2, .detach_summaries = false};
  static constexpr strata::level levels[] = {
      {.compression = 4, .dim = 21, .heads = 3, .head_dim = 6, .window = 5},
      {.compression = 1, .dim = 18, .heads = 2, .head_dim = 10, .window = 9},
      {.compression = 8, .stride = 2, .dim = 17, .heads = 2, .head_dim = 8, .window = strata::full_attention},
      {.compression = 16, .stride = 8, .dim = 13, .heads = 1, .head_dim = 4, .window = 0}};
};

/// The predicting level is the second and compressed; it sees 2 tokens a position. A loss with less work backward.
struct predicts_compressed : strata::model_defaults {
  static constexpr int vocabulary = 31, max_length = 48, depth = 2, predicting_level = 1;
  static constexpr std::string_view losses[] = {"sigmoid_contrastive"};
  static constexpr strata::sigmoid_contrastive_options sigmoid_contrastive = {.detach_targets = true};
  static constexpr strata::level levels[] = {{.compression = 1, .dim = 12, .heads = 2, .head_dim = 6, .window = 4},
                                             {.compression = 2, .dim = 16, .heads = 2, .head_dim = 8}};
};

/// Variants of docs/features.md. Small, so that finite differences reach every weight of theirs.
struct variant_defaults : strata::model_defaults {
  static constexpr int vocabulary = 11, max_length = 32, depth = 2;
};

/// Windows of half a level's length, logits from all levels; a compressed level predicts, a strided one receives what is
/// merged beside it, and token 0 counts in no loss; final embeddings are quantised; every place has dropout, and levels 0 and 2
/// have the same attention weights.
struct automatic_windows : variant_defaults {
  static constexpr int ignore_index = 0, predicting_level = 1;
  static constexpr int receiving_levels[] = {2, strata::the_predicting_level};
  static constexpr std::string_view losses[] = {"reconstruction", "prophet_quantized"};
  static constexpr strata::prophet_quantized_options prophet_quantized{
      .books = 2, .codes = 3, .code_dim = 4, .source = strata::quantized_source::final_embeddings};
  static constexpr bool share_attention = true;
  static constexpr double embedding_dropout = 0.1, attention_dropout = 0.3, feed_forward_dropout = 0.2;
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
  static constexpr strata::level levels[] = {
      {.dim = 4, .heads = 1, .head_dim = 2, .feed_forward_multiple = 1},
      {.compression = 2, .dim = 6, .heads = 1, .head_dim = 4, .feed_forward_multiple = 2},
      {.compression = 4, .stride = 2, .dim = 4, .heads = 1, .head_dim = 2, .feed_forward_multiple = 1}};
};

/// How many entries of `parameters<Config>` are of the network; those of its losses follow.
template <class Config>
std::size_t entries_of_network() {
  strata::parameter_table table({});
  strata::declare_network<Config>(table);
  return table.entries().size();
}

/// One level that attends locally: a baseline.
struct flat_window : variant_defaults {
  static constexpr strata::level levels[] = {
      {.dim = 6, .heads = 2, .head_dim = 4, .window = 3, .feed_forward_multiple = 2}};
};

/// Feed-forwards with a heavy branch for some positions: of one sequence, and of interleaved ones with a stride; dropout meets
/// both branches. Coarse levels are compressed by attention, with a stride and at every token.
struct routed_and_pooled : variant_defaults {
  static constexpr double feed_forward_dropout = 0.2;
  static constexpr strata::level levels[] = {
      {.dim = 4, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 2, .routing = {.capacity = 0.375}},
      {.compression = 4,
       .stride = 2,
       .dim = 6,
       .heads = 1,
       .head_dim = 4,
       .window = 2,
       .feed_forward_multiple = 2,
       .routing = {.light_multiple = 2, .capacity = 0.5},
       .compressor = strata::compressor_kind::attention},
      {.compression = 8,
       .dim = 4,
       .heads = 2,
       .head_dim = 2,
       .window = 0,
       .feed_forward_multiple = 1,
       .routing = {.capacity = 0.25},
       .compressor = strata::compressor_kind::attention}};
};

/// An hourglass whose coarse level is the first and wider, with logits from both.
struct hourglass : variant_defaults {
  static constexpr int depth = 5;
  static constexpr strata::hourglass_layers fine_layers = {.before = 1, .after = 2};
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
  static constexpr strata::level levels[] = {
      {.compression = 4, .stride = 4, .dim = 6, .heads = 1, .head_dim = 4, .window = 2, .feed_forward_multiple = 1},
      {.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1}};
};

/// An hourglass that shortens by attention.
struct pooled_hourglass : hourglass {
  static constexpr strata::level levels[] = {
      {.compression = 4,
       .stride = 4,
       .dim = 6,
       .heads = 1,
       .head_dim = 4,
       .window = 2,
       .feed_forward_multiple = 1,
       .compressor = strata::compressor_kind::attention},
      {.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1}};
};

/// An hourglass whose tokens attend to coarse positions: to 3, more than a short text has.
struct attending_hourglass : hourglass {
  static constexpr strata::hourglass_layers fine_layers = {
      .before = 1, .after = 2, .upsampling = strata::upsampling_kind::attention};
};

/// The merge "separable", into a strided level and another one that predict nothing: the predicting level only gives, but for
/// the logits, which come from all levels.
struct separable : variant_defaults {
  static constexpr std::string_view merge = "separable";
  static constexpr int receiving_levels[] = {2, 1};
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
  static constexpr strata::level levels[] = {
      {.dim = 5, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1},
      {.compression = 2, .dim = 5, .heads = 1, .head_dim = 4, .window = 2, .feed_forward_multiple = 1},
      {.compression = 8, .stride = 4, .dim = 5, .heads = 1, .head_dim = 2, .window = 2, .feed_forward_multiple = 1}};
};

/// The merge "level_attention" of every level with all; windows that end inside a text and strides that divide none.
struct attends_to_levels : variant_defaults {
  static constexpr std::string_view merge = "level_attention";
  static constexpr strata::level_attention_options level_attention{.heads = 2, .head_dim = 3, .window = 4};
  static constexpr int receiving_levels[] = {strata::every_level};
  static constexpr strata::level levels[] = {
      {.compression = 4, .stride = 2, .dim = 5, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1},
      {.dim = 4, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1},
      {.compression = 8, .stride = 8, .dim = 6, .heads = 1, .head_dim = 2, .window = 0, .feed_forward_multiple = 1}};
};

/// Only to finer levels: the finest gives and does not receive.
struct attends_to_finer_levels : attends_to_levels {
  static constexpr strata::level_attention_options level_attention{
      .heads = 1, .head_dim = 4, .window = 3, .direction = strata::level_direction::finer};
  static constexpr int receiving_levels[] = {0, 2};
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
};

/// The merge "level_shift" into a strided level, one of whose channels is no equal share, and into the predicting one.
struct shifts_levels : attends_to_levels {
  static constexpr std::string_view merge = "level_shift";
  static constexpr strata::level_shift_options level_shift{.feed_forward_multiple = 2};
  static constexpr int receiving_levels[] = {2, strata::the_predicting_level};
};

/// ids [batch, length], a function of the seed.
inline std::vector<strata::token> random_ids(strata::index_type batch, strata::index_type length, int vocabulary,
                                             std::uint64_t seed) {
  const strata::random_source random(seed);
  std::vector<strata::token> ids(static_cast<std::size_t>(batch * length));
  for (std::size_t n = 0; n < ids.size(); ++n)
    ids[n] = static_cast<strata::token>(random.below(static_cast<std::uint64_t>(vocabulary), 0, n));
  return ids;
}

}  // namespace models

/// The variants of docs/features.md. A new one is one more struct, or one more field of a struct where it meets others.
#define STRATA_VARIANTS                                                                                    \
  models::automatic_windows, models::flat_window, models::routed_and_pooled, models::hourglass,            \
      models::pooled_hourglass, models::attending_hourglass, models::separable, models::attends_to_levels, \
      models::attends_to_finer_levels, models::shifts_levels
/// What every test of whole models runs: TEMPLATE_TEST_CASE(name, tags, STRATA_MODELS).
#define STRATA_MODELS STRATA_GOLDEN_CASES, models::mixed, models::predicts_compressed, STRATA_VARIANTS
