// expect: strata: level_attention: heads, head_dim and window must be positive
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::level_attention> broken{
    .merge = {.window = 0}, .levels = {{.dim = 64}, {.compression = 2, .dim = 32}}};

static_assert(strata::check_rules_of_merge<broken>());
