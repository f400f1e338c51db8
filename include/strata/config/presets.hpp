// Model descriptions: sizes for a training of a given time, and the two that the benchmarks use.
// Shapes: bytes in, 256 logits out.
// Source: docs/experiments.md, "The right size".
#pragma once

#include <strata/config/description.hpp>

namespace strata::inline STRATA_ABI::presets {

/// One level that attends to the 256 bytes before its own.
constexpr description local_bytes(int dim, int depth) {
  return {
      .max_length = 512, .depth = depth, .levels = {{.dim = dim, .heads = dim / 32, .head_dim = 32, .window = 256}}};
}
// Each is named by the time of its training on two cores. `suggest` chooses one, and options to train it with.
inline constexpr description half_minute = local_bytes(96, 4);
inline constexpr description two_minutes = local_bytes(128, 4);
inline constexpr description ten_minutes = local_bytes(128, 6);
inline constexpr description one_hour = local_bytes(192, 6);
inline constexpr description ten_hours = local_bytes(320, 8);

/// The same for tokens of a vocabulary instead of bytes.
constexpr description local_tokens(int vocabulary, int dim, int depth) {
  description own = local_bytes(dim, depth);
  own.vocabulary = vocabulary;
  return own;
}
// Each is named by its vocabulary, as `spm_train --vocab_size` makes it: for texts of a few megabytes, and for larger.
inline constexpr description tokens_1024 = local_tokens(1024, 128, 4);
inline constexpr description tokens_4096 = local_tokens(4096, 192, 6);

/// Two narrow levels; trains on a laptop in minutes.
inline constexpr description small{
    .max_length = 512,
    .depth = 4,
    .levels = {{.dim = 128, .heads = 4, .head_dim = 32, .window = 32},
               {.compression = 2, .dim = 192, .heads = 4, .head_dim = 32, .window = 64}}};

/// Two wide levels; the size at which matrix products dominate.
inline constexpr description base{.max_length = 1024,
                                  .depth = 6,
                                  .levels = {{.dim = 512, .heads = 8, .head_dim = 64, .window = 32},
                                             {.compression = 2, .dim = 512, .heads = 8, .head_dim = 64, .window = 64}}};

}  // namespace strata::presets
