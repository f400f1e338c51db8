// Ready model descriptions: the two that the benchmarks use.
// Shapes: bytes in, 256 logits out.
// Source: own.
#pragma once

#include <strata/config/model_defaults.hpp>

namespace strata::inline STRATA_ABI::presets {

/// Two narrow levels; trains on a laptop in minutes.
struct small : model_defaults {
  static constexpr int max_length = 512, depth = 4;
  static constexpr level levels[] = {{.compression = 1, .dim = 128, .heads = 4, .head_dim = 32, .window = 32},
                                     {.compression = 2, .dim = 192, .heads = 4, .head_dim = 32, .window = 64}};
};

/// Two wide levels; the size at which products dominate.
struct base : model_defaults {
  static constexpr int max_length = 1024, depth = 6;
  static constexpr level levels[] = {{.compression = 1, .dim = 512, .heads = 8, .head_dim = 64, .window = 32},
                                     {.compression = 2, .dim = 512, .heads = 8, .head_dim = 64, .window = 64}};
};

}  // namespace strata::presets
