// expect: strata: level 0: routing.light_multiple must be positive and at most 32768
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .routing = {.light_multiple = 32769, .capacity = 0.5}}}};

constexpr bool checked = strata::rules::check<broken>;
