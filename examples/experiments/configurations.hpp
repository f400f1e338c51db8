// The configurations that the experiments compare, in tables. A new one is one struct and one entry of a table. It adds
// a few seconds of compilation, or none if another configuration has the same model and losses.
#pragma once

#include <tuple>

#include <strata/strata.hpp>

#include "../models.hpp"

namespace experiments {

/// A level that attends to the 64 positions before its own. With a compression of 4 these are 256 tokens.
constexpr strata::level local(int compression, int dim, int heads) {
  return {.compression = compression, .stride = compression, .dim = dim, .heads = heads, .head_dim = 32, .window = 64};
}

constexpr strata::description of_levels(strata::level_list levels) {
  return {.max_length = 512, .depth = 4, .levels = levels};
}

struct defaults {
  using losses = strata::default_losses;
  /// Whether there is a merge after every layer.
  static constexpr bool merges = true;
};

// Levels and windows. All have as many parameters as `flat_full`, counting the heads of the losses.

struct flat_full : defaults {
  static constexpr const char* name = "flat_full";
  static constexpr const char* description =
      "One level that attends to everything before it: the usual transformer. Full attention uses RMSNorm and xPos, "
      "local attention LayerNorm and rotary positions.";
  static constexpr strata::description model =
      of_levels({{.dim = 224, .heads = 7, .head_dim = 32, .window = strata::full_attention}});
};

struct flat_window : defaults {
  static constexpr const char* name = "flat_window";
  static constexpr const char* description = "One level that attends to the 64 bytes before it.";
  static constexpr strata::description model = of_levels({local(1, 224, 7)});
};

struct two_levels_2 : defaults {
  static constexpr const char* name = "two_levels_2";
  static constexpr const char* description = "Bytes, and a level with one position for every 2; both attend locally.";
  static constexpr strata::description model = of_levels({local(1, 144, 5), local(2, 112, 4)});
};

struct two_levels_4 : defaults {
  static constexpr const char* name = "two_levels_4";
  static constexpr const char* description = "Bytes, and a level with one position for every 4; both attend locally.";
  static constexpr strata::description model = of_levels({local(1, 128, 4), local(4, 128, 4)});
};

struct three_levels : defaults {
  static constexpr const char* name = "three_levels";
  static constexpr const char* description =
      "Bytes, and levels with one position for every 2 and for every 4; all attend locally.";
  static constexpr strata::description model = of_levels({local(1, 112, 4), local(2, 96, 3), local(4, 96, 3)});
};

struct hourglass : defaults {
  static constexpr const char* name = "hourglass";
  static constexpr const char* description =
      "A layer on bytes, two on one position for every 4, a layer on bytes; all attend locally.";
  static constexpr strata::description model = strata::with(
      of_levels({local(1, 192, 6), local(4, 208, 6)}), [](auto& d) { d.levels[0].before = d.levels[0].after = 1; });
};

/// The model of the other tables.
using best = two_levels_4;

struct merge_off : best {
  static constexpr const char* name = "merge_off";
  static constexpr const char* description =
      "two_levels_4 without the merge after every layer: what the coarse level knows never reaches the bytes.";
  static constexpr bool merges = false;
};

// Auxiliary losses. The models differ only in the heads of the losses, which generation does not need.

struct next_byte_alone : best {
  static constexpr const char* name = "next_byte_alone";
  static constexpr const char* description = "No loss but that of the next byte.";
  using losses = strata::losses<>;
};

struct with_reconstruction : best {
  static constexpr const char* name = "with_reconstruction";
  static constexpr const char* description = "The coarse level also predicts the bytes that it was made from.";
  using losses = strata::losses<strata::reconstruction>;
};

struct with_level_autoregressive : best {
  static constexpr const char* name = "with_level_autoregressive";
  static constexpr const char* description = "The coarse level also predicts the direction of its next embedding.";
  using losses = strata::losses<strata::level_autoregressive>;
};

struct with_both_defaults : best {
  static constexpr const char* name = "with_both_defaults";
  static constexpr const char* description = "Both of these losses, which are the default.";
};

struct with_prophet_tokens : best {
  static constexpr const char* name = "with_prophet_tokens";
  static constexpr const char* description = "The coarse level also predicts the four bytes that follow.";
  using losses = strata::losses<strata::prophet_tokens>;
};

struct with_prophet_quantized : best {
  static constexpr const char* name = "with_prophet_quantized";
  static constexpr const char* description = "The coarse level also predicts 4 codes of the bytes that follow.";
  using losses = strata::losses<strata::prophet_quantized>;
};

struct with_sigmoid_contrastive : best {
  static constexpr const char* name = "with_sigmoid_contrastive";
  static constexpr const char* description =
      "The coarse level also recognises its next embedding among those of the batch.";
  using losses = strata::losses<strata::sigmoid_contrastive>;
};

struct with_next_latent : best {
  static constexpr const char* name = "with_next_latent";
  static constexpr const char* description =
      "Both levels also predict their next embedding, each with a network of its own.";
  using losses = strata::losses<strata::next_latent>;
};

// Other merges, compressors and blocks. Each changes one choice of `best`; sizes differ.

struct merge_separable : best {
  static constexpr const char* name = "merge_separable";
  static constexpr const char* description = "Levels are added, with one weight for each channel, and then mapped.";
  static constexpr auto model = strata::with_merge(best::model, strata::separable{});
};

struct merge_level_shift : best {
  static constexpr const char* name = "merge_level_shift";
  static constexpr const char* description =
      "Channels of the coarse level replace some channels of the fine level; a feed-forward follows.";
  static constexpr auto model = strata::with_merge(best::model, strata::level_shift{});
};

struct merge_attention : best {
  static constexpr const char* name = "merge_attention";
  static constexpr const char* description = "Bytes attend to the last 16 positions of both levels.";
  static constexpr auto model = strata::with_merge(best::model, strata::level_attention{});
};

struct merge_attention_coarser : best {
  static constexpr const char* name = "merge_attention_coarser";
  static constexpr const char* description = "Bytes attend to the last 16 positions of the coarse level.";
  static constexpr auto model =
      strata::with_merge(best::model, strata::level_attention{.direction = strata::level_direction::coarser});
};

struct merge_attention_finer : best {
  static constexpr const char* name = "merge_attention_finer";
  static constexpr const char* description =
      "The coarse level attends to the last 16 bytes; bytes receive nothing, so this direction cannot help "
      "them.";
  static constexpr auto model = strata::with(
      strata::with_merge(best::model, strata::level_attention{.direction = strata::level_direction::finer}),
      [](auto& d) { d.receiving_levels = {1}; });
};

struct merge_to_both : best {
  static constexpr const char* name = "merge_to_both";
  static constexpr const char* description = "The merge adds to both levels.";
  static constexpr auto model = strata::with(best::model, [](auto& d) { d.receiving_levels = {strata::every_level}; });
};

struct overlapping : best {
  static constexpr const char* name = "overlapping";
  static constexpr const char* description = "The coarse level has a position for every 2 bytes, each made from 4.";
  static constexpr auto model = strata::with(best::model, [](auto& d) { d.levels[1].stride = 2; });
};

struct compress_by_attention : best {
  static constexpr const char* name = "compress_by_attention";
  static constexpr const char* description = "The coarse level is made by attention, not by a convolution.";
  static constexpr auto model =
      strata::with(best::model, [](auto& d) { d.levels[1].compressor = strata::compressor_kind::attention; });
};

struct shared_attention : best {
  static constexpr const char* name = "shared_attention";
  static constexpr const char* description = "Both levels have the same weights of attention.";
  static constexpr auto model = strata::with(best::model, [](auto& d) { d.share_attention = true; });
};

struct routed : best {
  static constexpr const char* name = "routed";
  static constexpr const char* description =
      "A quarter of the bytes pass a wide feed-forward, and all bytes a narrow one of a quarter of its width.";
  static constexpr auto model =
      strata::with(best::model, [](auto& d) { d.levels[0].routing = {.light_multiple = 1, .capacity = 0.25}; });
};

// Sizes and windows for minutes of training, with the loss of the next byte alone.

struct two_minutes : next_byte_alone {
  static constexpr const char* name = "two_minutes";
  static constexpr const char* description = "The preset: 4 layers of 128 channels attend to the 256 bytes before.";
  static constexpr strata::description model = strata::presets::two_minutes;
};

struct half_minute : next_byte_alone {
  static constexpr const char* name = "half_minute";
  static constexpr const char* description = "The preset: 4 layers of 96 channels attend to the 256 bytes before.";
  static constexpr strata::description model = strata::presets::half_minute;
};

struct ten_minutes : next_byte_alone {
  static constexpr const char* name = "ten_minutes";
  static constexpr const char* description = "The preset: 6 layers of 128 channels attend to the 256 bytes before.";
  static constexpr strata::description model = strata::presets::ten_minutes;
};

struct wide_layers : next_byte_alone {
  static constexpr const char* name = "wide_layers";
  static constexpr const char* description = "two_minutes with 192 channels.";
  static constexpr strata::description model = strata::presets::local_bytes(192, 4);
};

struct window_64 : next_byte_alone {
  static constexpr const char* name = "window_64";
  static constexpr const char* description = "two_minutes with a window of 64 bytes.";
  static constexpr strata::description model =
      strata::with(two_minutes::model, [](auto& d) { d.levels[0].window = 64; });
};

struct window_512 : next_byte_alone {
  static constexpr const char* name = "window_512";
  static constexpr const char* description = "two_minutes with a window of 512 bytes.";
  static constexpr strata::description model =
      strata::with(two_minutes::model, [](auto& d) { d.levels[0].window = 512; });
};

struct with_tables : next_byte_alone {
  static constexpr const char* name = "with_tables";
  static constexpr const char* description = "two_minutes with tables of pairs and of 131072 hashed triples.";
  static constexpr strata::description model = strata::with(two_minutes::model, [](auto& d) {
    d.ngrams = {{.length = 2}, {.length = 3, .rows = 131072}};
  });
};

struct group_layer : next_byte_alone {
  static constexpr const char* name = "group_layer";
  static constexpr const char* description =
      "The model of `make demo`: the second layer is on one position for every 4 bytes, with 192 channels.";
  static constexpr strata::description model = examples::demo;
};

template <class... Configurations>
struct table {
  const char *name, *description;
};

/// In the order of the reports. The others of a table are compared with its first configuration.
inline constexpr table<flat_full, flat_window, two_levels_2, two_levels_4, three_levels, hourglass, merge_off> levels{
    "levels", "flat, with two and with three levels, all of one size"};
inline constexpr table<next_byte_alone, with_reconstruction, with_level_autoregressive, with_both_defaults,
                       with_prophet_tokens, with_prophet_quantized, with_sigmoid_contrastive, with_next_latent>
    losses{"losses", "two levels with other losses"};
inline constexpr table<best, merge_separable, merge_level_shift, merge_attention, merge_attention_coarser,
                       merge_attention_finer, merge_to_both, merge_off, overlapping, compress_by_attention,
                       shared_attention, routed>
    variants{"variants", "two levels with other merges, compressors and blocks"};
inline constexpr table<two_minutes, half_minute, ten_minutes, wide_layers, window_64, window_512, with_tables,
                       group_layer>
    sizes{"sizes", "sizes and windows for minutes of training"};
inline constexpr std::tuple every_table{levels, losses, variants, sizes};

template <class Configuration>
using cost_of = strata::cost<Configuration::model, typename Configuration::losses>;

/// Whether the number of parameters, with the heads of the losses, is within 3% of `flat_full`.
template <class Configuration>
constexpr bool comparable_size() {
  constexpr double size = cost_of<Configuration>::parameters;
  constexpr double ratio = size / cost_of<flat_full>::parameters;
  static_assert(ratio > 0.97 && ratio < 1.03, "a configuration must have the parameters of flat_full, to within 3%");
  return true;
}
template <class... Each>
constexpr bool comparable_sizes(const table<Each...>&) {
  return (comparable_size<Each>() && ...);
}
static_assert(comparable_sizes(levels));

}  // namespace experiments
