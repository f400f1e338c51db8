// One level of the hierarchy, as the user writes it.
// Shapes: with stride s a level has ceil(T / s) positions for T tokens.
// Source: docs/model.md.
#pragma once

#include <array>
#include <limits>
#include <string_view>

#include <strata/config/boundaries.hpp>
#include <strata/config/ngram.hpp>
#include <strata/core/aggregate_list.hpp>

namespace strata::inline STRATA_ABI {

// Products of two such numbers stay below the largest int, in a program as in a file.
inline constexpr int largest_length = 1 << 30;
inline constexpr int largest_compression = 1 << 24;  ///< and stride
inline constexpr int largest_factor = 1 << 15;       ///< of dim, heads, head_dim and the multiples of dim

/// Special values of `window`.
inline constexpr int full_attention = -1;    ///< every earlier position, with xPos
inline constexpr int automatic_window = -2;  ///< half the length of an interleaved sequence

/// A feed-forward with two branches. Every position passes the light branch. A learned score selects positions that
/// also pass the heavy branch, of hidden width `feed_forward_multiple` times `dim`.
struct feed_forward_routing {
  int light_multiple = 1;  ///< hidden width of the light branch divided by `dim`
  double capacity = 0;     ///< the share of positions that may be selected, up to 1; 0: no routing
  constexpr bool operator==(const feed_forward_routing&) const = default;
};

/// How a level's positions are made from the tokens they summarise. In an hourglass `convolution` is a linear map. `padding`
/// is of levels whose boundaries follow the text: a wider row has a learned vector in its other channels.
enum class compressor_kind { convolution, attention, padding };
constexpr std::array<std::string_view, 3> names_of(compressor_kind) { return {"convolution", "attention", "padding"}; }

/// How a level of an hourglass is added to the next finer one. With `linear`, a linear map turns a coarse position into one
/// piece for each of the finer positions from its own on. With `attention`, each finer position attends to the coarse
/// positions up to the newest one it may see. If boundaries follow the text, `linear` has one map for all finer positions of a
/// coarse one, `by_offset` one for each of the first 15 and one for the rest, and `at_boundaries` adds to the first alone.
enum class upsampling_kind { linear, attention, at_boundaries, by_offset };
constexpr std::array<std::string_view, 4> names_of(upsampling_kind) {
  return {"linear", "attention", "at_boundaries", "by_offset"};
}
inline constexpr int upsample_offsets = 16;  ///< maps of `by_offset`

/// Describes one level. Everything is a compile-time constant of the model.
struct level {
  int compression = 1;            ///< tokens that one position summarises; a power of two
  int stride = 1;                 ///< tokens between two positions; a power of two, at most `compression`
  int dim = 0;                    ///< width of the level
  int heads = 8;                  ///< attention heads
  int head_dim = 64;              ///< width of one head; even
  int window = automatic_window;  ///< earlier positions that a position attends to, or a special value; 0: no attention
  int feed_forward_multiple = 4;  ///< hidden width of the feed-forward divided by `dim`
  feed_forward_routing routing = {};
  compressor_kind compressor = compressor_kind::convolution;
  /// Tables whose rows are added to the positions of this level. Their n-grams end at a position's token.
  ngram_list ngrams = {};
  /// Of an hourglass: the layers on this level before the next coarser level takes over, and those after it. The coarsest
  /// level has all layers that are left of `depth`.
  int before = 0, after = 0;
  upsampling_kind upsampling = upsampling_kind::linear;  ///< how this level is added to the next finer one
  /// Where its positions begin. If the text decides, `compression` and `stride` say about how far apart they are: `cost`,
  /// automatic windows, levels inside and `boundary_ratio_loss` use that.
  boundary_rule boundaries = boundaries::every_stride;

  static constexpr level absent() { return {.compression = std::numeric_limits<int>::min()}; }
  constexpr bool operator==(const level&) const = default;
  /// Whether only a level of an hourglass has such fields.
  constexpr bool in_hourglass() const { return before != 0 || after != 0 || upsampling != upsampling_kind::linear; }
  /// Whether attention is full: by choice, or because the window is longer than an interleaved sequence.
  constexpr bool attends_to_all(int max_length) const {
    return window == full_attention || (!boundaries.follows_text() && window > max_length / compression);
  }
  /// Whether two levels can have the same attention weights.
  constexpr bool can_share_attention(const level& other) const {
    return window != 0 && other.window != 0 && dim == other.dim && heads == other.heads && head_dim == other.head_dim;
  }
  /// Positions in an interleaved sequence of `max_length` tokens.
  constexpr int reach(int max_length) const { return (max_length + compression - 1) / compression; }
};

using level_list = aggregate_list<level>;
inline constexpr int most_levels = level_list::most;  ///< in one model

}  // namespace strata
