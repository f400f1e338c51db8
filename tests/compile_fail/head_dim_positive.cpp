// expect: strata: level 0: head_dim must be positive and even, at most 32768 (rotary embeddings rotate pairs)
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .head_dim = 0}, {.compression = 2, .dim = 64}, {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
