// expect: strata: level 0: routing.light_multiple must be positive
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .routing = {.light_multiple = 0, .capacity = 0.5}}, {.compression = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
