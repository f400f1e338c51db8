// expect: strata: share_attention needs two levels with attention and equal dim, heads and head_dim
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .heads = 4}, {.compression = 2, .dim = 64}, {.compression = 4, .dim = 64, .window = 0}},
    .share_attention = true};

constexpr bool checked = strata::rules::check<broken>;
