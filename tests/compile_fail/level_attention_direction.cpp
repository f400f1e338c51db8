// expect: strata: level_attention: a receiving level has no level in the direction chosen
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::level_attention> broken{
    .merge = {.direction = strata::level_direction::finer}, .levels = {{.dim = 64}, {.compression = 2, .dim = 32}}};

static_assert(strata::check_rules_of_merge<broken>());
