// What tests of whole models share: descriptions of every kind of level, and random ids.
#pragma once

#include <cstdint>
#include <vector>

#include <strata/strata.hpp>

#include "golden/cases.hpp"
#include "package/consumer/parts.hpp"
#include "support/model.hpp"

namespace models {

/// Windowed, strided full attention and no attention; odd widths; merging into all, logits from all; every loss.
struct mixed : defaults {
  static constexpr strata::description description{
      .vocabulary = 67,
      .max_length = 64,
      .depth = 2,
      .levels =
          {{.compression = 4, .dim = 21, .heads = 3, .head_dim = 6, .window = 5},
           {.compression = 1, .dim = 18, .heads = 2, .head_dim = 10, .window = 9},
           {.compression = 8, .stride = 2, .dim = 17, .heads = 2, .head_dim = 8, .window = strata::full_attention},
           {.compression = 16, .stride = 8, .dim = 13, .heads = 1, .head_dim = 4, .window = 0}},
      .receiving_levels = {strata::every_level},
      .logits = strata::logits_source::all_levels};
  static constexpr strata::losses losses{
      strata::reconstruction{},
      strata::level_autoregressive{},
      strata::prophet_tokens{},
      strata::basic_prophet_quantized<3, 19, 5>{},
      strata::sigmoid_contrastive{},
      strata::next_latent{.distance = strata::latent_distance::smooth_l1, .rollouts = 2, .detach_summaries = false}};
};

/// The predicting level is the second, of compression 2. The loss has less work in the backward pass.
struct predicts_compressed : defaults {
  static constexpr strata::description description{
      .vocabulary = 31,
      .max_length = 48,
      .depth = 2,
      .levels = {{.compression = 1, .dim = 12, .heads = 2, .head_dim = 6, .window = 4},
                 {.compression = 2, .dim = 16, .heads = 2, .head_dim = 8}},
      .predicting_level = 1};
  static constexpr strata::losses losses{strata::sigmoid_contrastive{.detach_targets = true}};
};

// Variants of docs/features.md: small, so that finite differences reach every weight.

/// Windows of half a level's length, logits from all levels. A compressed level predicts; a strided level receives the
/// merge too. Token 0 counts in no loss, final embeddings are quantised, dropout is everywhere. Levels 0 and 2 share
/// attention weights.
struct automatic_windows : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .feed_forward_multiple = 1},
                 {.compression = 2, .dim = 6, .heads = 1, .head_dim = 4, .feed_forward_multiple = 2},
                 {.compression = 4, .stride = 2, .dim = 4, .heads = 1, .head_dim = 2, .feed_forward_multiple = 1}},
      .predicting_level = 1,
      .receiving_levels = {2, strata::the_predicting_level},
      .logits = strata::logits_source::all_levels,
      .share_attention = true};
  using quantized = strata::basic_prophet_quantized<2, 3, 4>;
  static constexpr auto losses = ignoring(
      0, strata::losses(strata::reconstruction{}, quantized{.source = strata::quantized_source::final_embeddings}));
  static constexpr strata::dropout_rates dropout{.embedding = 0.1, .attention = 0.3, .feed_forward = 0.2};
};

/// One level that attends locally: a baseline.
struct flat_window : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .levels = {{.dim = 6, .heads = 2, .head_dim = 4, .window = 3, .feed_forward_multiple = 2}}};
};

/// Feed-forwards with a heavy branch for some positions, of one sequence and of interleaved ones with a stride. Dropout
/// meets both branches. Coarse levels are compressed by attention, with a stride and at every token.
struct routed_and_pooled : defaults {
  static constexpr strata::description description{.vocabulary = 11,
                                                   .max_length = 32,
                                                   .depth = 2,
                                                   .levels = {{.dim = 4,
                                                               .heads = 1,
                                                               .head_dim = 2,
                                                               .window = 3,
                                                               .feed_forward_multiple = 2,
                                                               .routing = {.capacity = 0.375}},
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
                                                               .compressor = strata::compressor_kind::attention}}};
  static constexpr strata::dropout_rates dropout{.feed_forward = 0.2};
};

/// An hourglass whose coarse level comes first and is wider, with logits from both levels.
struct hourglass : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 5,
      .levels =
          {{.compression = 4,
            .stride = 4,
            .dim = 6,
            .heads = 1,
            .head_dim = 4,
            .window = 2,
            .feed_forward_multiple = 1},
           {.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1, .before = 1, .after = 2}},
      .logits = strata::logits_source::all_levels};
};

/// Three nested levels in no order: 8x, shortened by attention, in 2x, lengthened by attention, in 1x.
struct nested_hourglass : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 6,
      .levels =
          {{.compression = 2,
            .stride = 2,
            .dim = 6,
            .heads = 1,
            .head_dim = 4,
            .window = 3,
            .feed_forward_multiple = 1,
            .before = 1,
            .after = 1,
            .upsampling = strata::upsampling_kind::attention},
           {.compression = 8,
            .stride = 8,
            .dim = 5,
            .heads = 1,
            .head_dim = 2,
            .window = 2,
            .feed_forward_multiple = 1,
            .compressor = strata::compressor_kind::attention},
           {.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1, .before = 1, .after = 1}},
      .logits = strata::logits_source::all_levels};
};

/// The same shortened and lengthened by linear maps.
struct nested_linear_hourglass : defaults {
  static constexpr auto description = strata::with(nested_hourglass::description, [](auto& d) {
    d.levels[0].upsampling = strata::upsampling_kind::linear;
    d.levels[1].compressor = strata::compressor_kind::convolution;
  });
};

/// An hourglass that shortens by attention.
struct pooled_hourglass : defaults {
  static constexpr auto description = strata::with(
      hourglass::description, [](auto& d) { d.levels[0].compressor = strata::compressor_kind::attention; });
};

/// An hourglass whose tokens attend to 3 coarse positions, more than a short text has.
struct attending_hourglass : defaults {
  static constexpr auto description = strata::with(
      hourglass::description, [](auto& d) { d.levels[0].upsampling = strata::upsampling_kind::attention; });
};

/// Positions at tokens below 4, and at every second of these.
inline constexpr strata::boundary_rule small_tokens{
    "models::small_tokens", [](std::span<const strata::token> last) { return last.back() < 4; }};
struct follows_text : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 6,
      .levels = {
          {.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1, .before = 1, .after = 1},
          {.compression = 4,
           .stride = 4,
           .dim = 6,
           .heads = 1,
           .head_dim = 4,
           .window = 3,
           .feed_forward_multiple = 1,
           .before = 1,
           .after = 1,
           .boundaries = small_tokens},
          {.compression = 8,
           .stride = 8,
           .dim = 5,
           .heads = 1,
           .head_dim = 2,
           .window = 2,
           .feed_forward_multiple = 1}}};
  static constexpr strata::losses<> losses{};
};

/// The same with the other ways down and up, another token shift, and a coarsest level that attends to all.
struct follows_text_otherwise : follows_text {
  static constexpr strata::description description = strata::with(follows_text::description, [](auto& d) {
    d.token_shift = strata::token_shift_kind::learned;
    d.levels[1].compressor = d.levels[2].compressor = strata::compressor_kind::padding;
    d.levels[1].upsampling = strata::upsampling_kind::by_offset;
    d.levels[2].upsampling = strata::upsampling_kind::at_boundaries;
    d.levels[2].dim = 6;
    d.levels[2].window = strata::full_attention;
  });
};

/// Levels side by side that follow the text, beside a strided one. All receive.
struct follows_text_beside : defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .feed_forward_multiple = 1},
                 {.compression = 4,
                  .stride = 2,
                  .dim = 6,
                  .heads = 1,
                  .head_dim = 4,
                  .window = 3,
                  .feed_forward_multiple = 1},
                 {.compression = 8,
                  .stride = 8,
                  .dim = 6,
                  .heads = 1,
                  .head_dim = 4,
                  .window = 3,
                  .feed_forward_multiple = 1,
                  .boundaries = small_tokens}},
      .receiving_levels = {strata::every_level}};
  static constexpr strata::losses<> losses{};
};

/// The model decides where positions of the middle level begin; every second of these begins one of the coarsest level.
struct learned_boundaries : follows_text {
  static constexpr strata::description description =
      strata::with(follows_text::description, [](auto& d) { d.levels[1].boundaries = strata::boundaries::learned; });
  static constexpr strata::losses losses{strata::boundary_ratio_loss{}};
};

/// The merge `separable` into two levels that predict nothing, one of them strided. The predicting level only gives.
/// The logits come from all levels.
struct separable : defaults {
  static constexpr strata::basic_description<strata::separable> description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .levels = {{.dim = 5, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1},
                 {.compression = 2, .dim = 5, .heads = 1, .head_dim = 4, .window = 2, .feed_forward_multiple = 1},
                 {.compression = 8,
                  .stride = 4,
                  .dim = 5,
                  .heads = 1,
                  .head_dim = 2,
                  .window = 2,
                  .feed_forward_multiple = 1}},
      .receiving_levels = {2, 1},
      .logits = strata::logits_source::all_levels};
};

/// The merge `level_attention` between all levels. Windows end inside a text; strides divide no length.
struct attends_to_levels : defaults {
  static constexpr strata::basic_description<strata::level_attention> description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .merge = {.window = 4, .heads = 2, .head_dim = 3},
      .levels = {{.compression = 4,
                  .stride = 2,
                  .dim = 5,
                  .heads = 1,
                  .head_dim = 2,
                  .window = 3,
                  .feed_forward_multiple = 1},
                 {.dim = 4, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1},
                 {.compression = 8,
                  .stride = 8,
                  .dim = 6,
                  .heads = 1,
                  .head_dim = 2,
                  .window = 0,
                  .feed_forward_multiple = 1}},
      .receiving_levels = {strata::every_level}};
};

/// Only to finer levels: the finest level gives and does not receive.
struct attends_to_finer_levels : defaults {
  static constexpr auto description = strata::with(attends_to_levels::description, [](auto& d) {
    d.merge = {.window = 3, .heads = 1, .head_dim = 4, .direction = strata::level_direction::finer};
    d.receiving_levels = {0, 2};
    d.logits = strata::logits_source::all_levels;
  });
};

/// The merge `level_shift` into the predicting level and a strided one, whose channels cannot be shared equally.
struct shifts_levels : defaults {
  static constexpr auto description = strata::with(
      strata::with_merge(attends_to_levels::description, strata::level_shift{.feed_forward_multiple = 2}), [](auto& d) {
        d.receiving_levels = {2, strata::the_predicting_level};
      });
};

/// Tables of the token embedding that a convolution reads too, and tables of levels, exact and hashed. The learned token
/// shift meets interleaved sequences.
struct ngram_tables : defaults {
  static constexpr strata::description description{
      .vocabulary = 5,
      .max_length = 32,
      .depth = 2,
      .levels =
          {{.dim = 6, .heads = 1, .head_dim = 2, .window = 3, .feed_forward_multiple = 1, .ngrams = {{.rows = 7}}},
           {.compression = 4,
            .stride = 2,
            .dim = 5,
            .heads = 1,
            .head_dim = 4,
            .window = 2,
            .feed_forward_multiple = 1,
            .ngrams = {{.length = 3, .rows = 16}, {.length = 2}}}},
      .ngrams = {{.length = 2}, {.length = 3, .rows = 11}},
      .token_shift = strata::token_shift_kind::learned};
};

/// Tables of both levels of an hourglass.
struct hourglass_with_ngrams : defaults {
  static constexpr auto description = strata::with(hourglass::description, [](auto& d) {
    d.vocabulary = 7;
    d.ngrams = {{.length = 4, .rows = 9}};
    d.levels[0].ngrams = {{.length = 2}};
    d.token_shift = strata::token_shift_kind::learned;
  });
};

/// The loss and the merge of a program outside the library: tests/package/consumer.
struct own_parts : defaults {
  static constexpr auto description =
      strata::with(strata::with_merge(attends_to_levels::description, mine::linear_merge{}), [](auto& d) {
        d.receiving_levels = {2, strata::the_predicting_level};
      });
  static constexpr strata::losses losses{strata::reconstruction{}, mine::smoothness{.finest_too = true}};
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

/// The variants of docs/features.md. A new variant is one more struct, or one more field of a struct.
#define STRATA_VARIANTS                                                                                            \
  models::automatic_windows, models::flat_window, models::routed_and_pooled, models::hourglass,                    \
      models::pooled_hourglass, models::attending_hourglass, models::nested_hourglass,                             \
      models::nested_linear_hourglass, models::follows_text, models::follows_text_otherwise,                       \
      models::follows_text_beside, models::learned_boundaries, models::separable, models::attends_to_levels,       \
      models::attends_to_finer_levels, models::shifts_levels, models::ngram_tables, models::hourglass_with_ngrams, \
      models::own_parts
/// What every test of whole models runs: TEMPLATE_TEST_CASE(name, tags, STRATA_MODELS).
#define STRATA_MODELS STRATA_GOLDEN_CASES, models::mixed, models::predicts_compressed, STRATA_VARIANTS
