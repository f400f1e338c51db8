// The model of this test. Its widths are no multiples of a vector.
#pragma once

#include <strata/cpu.hpp>

inline constexpr strata::description model{
    .max_length = 48,
    .depth = 1,
    .levels = {{.dim = 36, .heads = 3, .head_dim = 12, .window = 16},
               {.compression = 2, .dim = 20, .heads = 2, .head_dim = 10, .window = 12}}};
