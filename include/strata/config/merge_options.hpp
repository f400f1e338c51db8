// Choices of single merges, as the user writes them.
// Shapes: none.
// Source: docs/model.md, "Merges".
#pragma once

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Which levels a receiving level attends to: all with its own, only more compressed ones, or only less compressed ones.
enum class level_direction { all, coarser, finer };

struct level_attention_options {
  int heads = 4;
  int head_dim = 32;
  int window = 16;  ///< positions of each level that a position attends to
  level_direction direction = level_direction::all;
};

struct level_shift_options {
  int feed_forward_multiple = 4;  ///< hidden width of the feed-forward over the receiving level's
};

}  // namespace strata
