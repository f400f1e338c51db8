// expect: strata: an hourglass has at least one layer before and one after on each level but the coarsest
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .depth = 4, .levels = {{.dim = 64, .before = 2, .after = 2}, {.compression = 4, .stride = 4, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
