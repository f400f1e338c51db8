// The models of the golden files: one struct per file, with the file's name, and one entry of STRATA_GOLDEN_CASES.
#pragma once

#include <strata/strata.hpp>

#include "support/model.hpp"

namespace golden {

using models::ignoring;

struct case_defaults : models::defaults {
  static constexpr auto losses = ignoring(0, strata::default_losses());
};

struct flat_full_attention : case_defaults {
  static constexpr const char* name = "flat_full_attention";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 2,
      .levels = {{.dim = 32, .heads = 4, .head_dim = 8, .window = strata::full_attention}}};
};

struct two_levels_local : case_defaults {
  static constexpr const char* name = "two_levels_local";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 2,
      .levels = {{.dim = 24, .heads = 2, .head_dim = 8, .window = 8},
                 {.compression = 2, .dim = 32, .heads = 4, .head_dim = 8, .window = 12}}};
};

struct three_levels_merge_all : case_defaults {
  static constexpr const char* name = "three_levels_merge_all";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 2,
      .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
                 {.compression = 2, .dim = 24, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
                 {.compression = 4, .dim = 32, .heads = 4, .head_dim = 8, .window = strata::full_attention}},
      .receiving_levels = {strata::every_level}};
};

struct four_levels_strided : case_defaults {
  static constexpr const char* name = "four_levels_strided";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 128,
      .depth = 2,
      .levels = {
          {.dim = 16, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
          {.compression = 2, .dim = 16, .heads = 2, .head_dim = 8, .window = 0, .feed_forward_multiple = 2},
          {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 16, .feed_forward_multiple = 3},
          {.compression = 16, .stride = 8, .dim = 32, .heads = 2, .head_dim = 16, .window = strata::full_attention}}};
};

struct predict_all_levels : case_defaults {
  static constexpr const char* name = "predict_all_levels";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 2,
      .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                 {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}},
      .logits = strata::logits_source::all_levels};
};

struct prophet_tokens : case_defaults {
  static constexpr const char* name = "prophet_tokens";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 1,
      .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                 {.compression = 2, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}}};
  static constexpr auto losses = ignoring(0, strata::losses(strata::reconstruction{}, strata::prophet_tokens{}));
};

struct prophet_quantized : case_defaults {
  static constexpr const char* name = "prophet_quantized";
  static constexpr strata::description description{
      .vocabulary = 64,
      .max_length = 64,
      .depth = 1,
      .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                 {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}}};
  static constexpr auto losses =
      ignoring(0, strata::losses(strata::reconstruction{}, strata::basic_prophet_quantized<2, 32, 8>{}));
};

struct next_latent_rollouts : case_defaults {
  static constexpr const char* name = "next_latent_rollouts";
  static constexpr strata::description description{
      .vocabulary = 24,
      .max_length = 64,
      .depth = 1,
      .levels = {{.dim = 12, .heads = 2, .head_dim = 4, .window = 8, .feed_forward_multiple = 2},
                 {.compression = 2, .dim = 16, .heads = 2, .head_dim = 4, .window = 8, .feed_forward_multiple = 2},
                 {.compression = 4,
                  .stride = 2,
                  .dim = 12,
                  .heads = 2,
                  .head_dim = 4,
                  .window = 0,
                  .feed_forward_multiple = 2}}};
  static constexpr auto losses =
      ignoring(0, strata::losses(strata::reconstruction{}, strata::next_latent{.rollouts = 2}));
};

}  // namespace golden

#define STRATA_GOLDEN_CASES                                                                                           \
  golden::flat_full_attention, golden::two_levels_local, golden::three_levels_merge_all, golden::four_levels_strided, \
      golden::predict_all_levels, golden::prophet_tokens, golden::prophet_quantized, golden::next_latent_rollouts
