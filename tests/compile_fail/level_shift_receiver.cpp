// expect: strata: level_shift: a receiving level is too narrow for a channel of every other level
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::level_shift> broken{
    .levels = {{.dim = 3}, {.compression = 2, .dim = 8}, {.compression = 4, .dim = 8}}};

static_assert(strata::check_rules_of_merge<broken>());
