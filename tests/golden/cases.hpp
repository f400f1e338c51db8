// The models of the golden files: one struct a file, named like it, and one entry of STRATA_GOLDEN_CASES.
#pragma once

#include <strata/strata.hpp>

namespace golden {

struct case_defaults : strata::model_defaults {
  static constexpr int vocabulary = 64, max_length = 64, depth = 2, ignore_index = 0;
};

struct flat_full_attention : case_defaults {
  static constexpr const char* name = "flat_full_attention";
  static constexpr strata::level levels[] = {{.dim = 32, .heads = 4, .head_dim = 8, .window = strata::full_attention}};
};

struct two_levels_local : case_defaults {
  static constexpr const char* name = "two_levels_local";
  static constexpr strata::level levels[] = {{.dim = 24, .heads = 2, .head_dim = 8, .window = 8},
                                             {.compression = 2, .dim = 32, .heads = 4, .head_dim = 8, .window = 12}};
};

struct three_levels_merge_all : case_defaults {
  static constexpr const char* name = "three_levels_merge_all";
  static constexpr int receiving_levels[] = {strata::every_level};
  static constexpr strata::level levels[] = {
      {.dim = 16, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
      {.compression = 2, .dim = 24, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
      {.compression = 4, .dim = 32, .heads = 4, .head_dim = 8, .window = strata::full_attention}};
};

struct four_levels_strided : case_defaults {
  static constexpr const char* name = "four_levels_strided";
  static constexpr int max_length = 128;
  static constexpr strata::level levels[] = {
      {.dim = 16, .heads = 2, .head_dim = 8, .window = 8, .feed_forward_multiple = 2},
      {.compression = 2, .dim = 16, .heads = 2, .head_dim = 8, .window = 0, .feed_forward_multiple = 2},
      {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 16, .feed_forward_multiple = 3},
      {.compression = 16, .stride = 8, .dim = 32, .heads = 2, .head_dim = 16, .window = strata::full_attention}};
};

struct predict_all_levels : case_defaults {
  static constexpr const char* name = "predict_all_levels";
  static constexpr strata::logits_source logits = strata::logits_source::all_levels;
  static constexpr strata::level levels[] = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                                             {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}};
};

struct prophet_tokens : case_defaults {
  static constexpr const char* name = "prophet_tokens";
  static constexpr int depth = 1;
  static constexpr std::string_view losses[] = {"reconstruction", "prophet_tokens"};
  static constexpr strata::level levels[] = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                                             {.compression = 2, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}};
};

/// A class cannot have a member of its own name, so this one is not named like its file.
struct prophet_codes : case_defaults {
  static constexpr const char* name = "prophet_quantized";
  static constexpr int depth = 1;
  static constexpr std::string_view losses[] = {"reconstruction", "prophet_quantized"};
  static constexpr strata::prophet_quantized_options prophet_quantized{.books = 2, .codes = 32, .code_dim = 8};
  static constexpr strata::level levels[] = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                                             {.compression = 4, .dim = 24, .heads = 2, .head_dim = 8, .window = 8}};
};

struct next_latent_rollouts : case_defaults {
  static constexpr const char* name = "next_latent_rollouts";
  static constexpr int vocabulary = 24, depth = 1;
  static constexpr std::string_view losses[] = {"reconstruction", "next_latent"};
  static constexpr strata::next_latent_options next_latent = {.rollouts = 2};
  static constexpr strata::level levels[] = {
      {.dim = 12, .heads = 2, .head_dim = 4, .window = 8, .feed_forward_multiple = 2},
      {.compression = 2, .dim = 16, .heads = 2, .head_dim = 4, .window = 8, .feed_forward_multiple = 2},
      {.compression = 4, .stride = 2, .dim = 12, .heads = 2, .head_dim = 4, .window = 0, .feed_forward_multiple = 2}};
};

}  // namespace golden

#define STRATA_GOLDEN_CASES                                                                                           \
  golden::flat_full_attention, golden::two_levels_local, golden::three_levels_merge_all, golden::four_levels_strided, \
      golden::predict_all_levels, golden::prophet_tokens, golden::prophet_codes, golden::next_latent_rollouts
