// Small models of bytes that together use every operation of a backend, for tests of the cuda backend.
#pragma once

#include <strata/strata.hpp>

#include "support/model.hpp"

namespace device_models {

/// With every loss and most variants.
struct many_things : models::defaults {
  static constexpr strata::description description{
      .max_length = 64,
      .depth = 2,
      .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 8, .routing = {.capacity = 0.25}},
                 {.compression = 4,
                  .stride = 2,
                  .dim = 32,
                  .heads = 2,
                  .head_dim = 16,
                  .window = strata::full_attention,
                  .compressor = strata::compressor_kind::attention,
                  .ngrams = {{.length = 2, .rows = 300}}}},
      .ngrams = {{.length = 2}, {.length = 3, .rows = 500}}};
  static constexpr strata::losses<strata::reconstruction, strata::level_autoregressive, strata::prophet_tokens,
                                  strata::prophet_quantized, strata::sigmoid_contrastive, strata::next_latent>
      losses{};
  static constexpr strata::dropout_rates dropout{.embedding = 0.1, .attention = 0.1, .feed_forward = 0.1};
};
/// Without dropout: every pass is the same work.
struct repeats : many_things {
  static constexpr strata::dropout_rates dropout{};
};
/// Rows of tables start at zero, and Adam moves them by the sign of a gradient, which rounding may change.
struct without_tables : repeats {
  static constexpr auto description =
      strata::with(many_things::description, [](auto& d) { d.ngrams = d.levels[1].ngrams = {}; });
};
struct attends_to_levels : many_things {
  static constexpr auto description = strata::with_merge(many_things::description, strata::level_attention{});
};
struct separable : many_things {
  static constexpr auto description = strata::with_merge(many_things::description, strata::separable{});
};
struct shifts_levels : many_things {
  static constexpr auto description = strata::with(strata::with_merge(many_things::description, strata::level_shift{}),
                                                   [](auto& d) { d.token_shift = strata::token_shift_kind::learned; });
};
/// An hourglass that lengthens by attention.
struct shortens : models::defaults {
  static constexpr strata::description description{
      .max_length = 64,
      .depth = 3,
      .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 8, .before = 1, .after = 1},
                 {.compression = 4,
                  .stride = 4,
                  .dim = 48,
                  .heads = 3,
                  .head_dim = 16,
                  .window = 4,
                  .upsampling = strata::upsampling_kind::attention}}};
};
/// An hourglass that decides where its positions begin, around one whose positions begin at every second of these.
struct decides : models::defaults {
  static constexpr strata::description description{
      .max_length = 64,
      .depth = 5,
      .levels = {{.dim = 32, .heads = 2, .head_dim = 16, .window = 8, .before = 1, .after = 1},
                 {.compression = 2,
                  .stride = 2,
                  .dim = 48,
                  .heads = 3,
                  .head_dim = 16,
                  .window = 4,
                  .before = 1,
                  .after = 1,
                  .boundaries = strata::boundaries::learned},
                 {.compression = 4,
                  .stride = 4,
                  .dim = 48,
                  .heads = 3,
                  .head_dim = 16,
                  .window = 4,
                  .compressor = strata::compressor_kind::padding,
                  .upsampling = strata::upsampling_kind::by_offset}}};
  static constexpr strata::losses<strata::boundary_ratio_loss> losses{};
};

}  // namespace device_models
