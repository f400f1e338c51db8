// One level of the hierarchy, as the user writes it.
// Shapes: compression c and stride s say how many positions a level has: ceil(T / s) for T tokens.
// Source: docs/model.md.
#pragma once

#include <array>
#include <string_view>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

inline constexpr int most_levels = 8;  ///< of one model

/// Window values with a meaning of their own.
inline constexpr int full_attention = -1;    ///< every earlier position, with xPos
inline constexpr int automatic_window = -2;  ///< half of the level's own sequence length

/// A feed-forward in two branches: a light one that every position passes, and a heavy one, `feed_forward_multiple` wide, for
/// the positions that a learned score selects.
struct feed_forward_routing {
  int light_multiple = 1;  ///< hidden width of the light branch over `dim`
  double capacity = 0;     ///< the part of the positions that may be selected, up to 1; 0: no routing
  constexpr bool operator==(const feed_forward_routing&) const = default;
};

/// How a level's positions are made from the tokens they summarise.
enum class compressor_kind { convolution, attention };
constexpr std::array<std::string_view, 2> names_of(compressor_kind) { return {"convolution", "attention"}; }

/// Describes one level. Everything is a compile-time constant of the model.
struct level {
  int compression = 1;            ///< tokens that one position summarises; a power of two
  int stride = 1;                 ///< tokens between two positions; a power of two, at most `compression`
  int dim = 0;                    ///< width of the level
  int heads = 8;                  ///< attention heads
  int head_dim = 64;              ///< width of one head; even
  int window = automatic_window;  ///< earlier positions a position attends to; 0 for none, or a value above
  int feed_forward_multiple = 4;  ///< hidden width of the feed-forward over `dim`
  feed_forward_routing routing = {};
  compressor_kind compressor = compressor_kind::convolution;

  constexpr bool operator==(const level&) const = default;
  /// Whether the attention is full: asked for, or a window that is longer than the level's own sequence.
  constexpr bool attends_to_all(int max_length) const {
    return window == full_attention || window > max_length / compression;
  }
  /// Whether two levels can have the same attention weights.
  constexpr bool can_share_attention(const level& other) const {
    return window != 0 && other.window != 0 && dim == other.dim && heads == other.heads && head_dim == other.head_dim;
  }
  /// Positions of the level's own sequence that `max_length` tokens make.
  constexpr int reach(int max_length) const { return (max_length + compression - 1) / compression; }
};

}  // namespace strata
