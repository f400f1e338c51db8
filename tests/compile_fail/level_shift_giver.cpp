// expect: strata: level_shift: a level is narrower than what a receiving level takes of it
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::level_shift> broken{
    .levels = {{.dim = 64}, {.compression = 2, .dim = 31}}};

static_assert(strata::check_rules_of_merge<broken>());
