// The two model descriptions that the benchmarks use.
// Shapes: bytes in, 256 logits out.
#pragma once

#include <strata/config/description.hpp>

namespace strata::inline STRATA_ABI::presets {

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
