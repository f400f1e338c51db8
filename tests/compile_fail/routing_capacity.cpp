// expect: strata: level 1: routing.capacity must be 0 (no routing) or a part of the positions, up to 1
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .routing = {.capacity = 1}}, {.compression = 2, .dim = 64, .routing = {.capacity = 1.25}}}};

constexpr bool checked = strata::rules::check<broken>;
