// Small models of bytes that together use every operation of a backend, for tests of the cuda backend.
#pragma once

#include <string_view>

#include <strata/strata.hpp>

namespace device_models {

/// With every loss and most variants.
struct many_things : strata::model_defaults {
  static constexpr int max_length = 64, depth = 2;
  static constexpr double embedding_dropout = 0.1, attention_dropout = 0.1, feed_forward_dropout = 0.1;
  static constexpr std::string_view losses[] = {"reconstruction",    "level_autoregressive", "prophet_tokens",
                                                "prophet_quantized", "sigmoid_contrastive",  "next_latent"};
  static constexpr strata::level levels[] = {
      {.dim = 32, .heads = 2, .head_dim = 16, .window = 8, .routing = {.capacity = 0.25}},
      {.compression = 4,
       .stride = 2,
       .dim = 32,
       .heads = 2,
       .head_dim = 16,
       .window = strata::full_attention,
       .compressor = strata::compressor_kind::attention}};
};
/// Without dropout: every pass is the same work.
struct repeats : many_things {
  static constexpr double embedding_dropout = 0, attention_dropout = 0, feed_forward_dropout = 0;
};
struct attends_to_levels : many_things {
  static constexpr std::string_view merge = "level_attention";
};
struct separable : many_things {
  static constexpr std::string_view merge = "separable";
};
struct shifts_levels : many_things {
  static constexpr std::string_view merge = "level_shift";
};
/// An hourglass that lengthens by attention.
struct shortens : strata::model_defaults {
  static constexpr int max_length = 64, depth = 3;
  static constexpr strata::hourglass_layers fine_layers = {
      .before = 1, .after = 1, .upsampling = strata::upsampling_kind::attention};
  static constexpr strata::level levels[] = {
      {.dim = 32, .heads = 2, .head_dim = 16, .window = 8},
      {.compression = 4, .stride = 4, .dim = 48, .heads = 3, .head_dim = 16, .window = 4}};
};

}  // namespace device_models
