// expect: strata: an hourglass has at least one layer before and one after on each level but the coarsest
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .depth = 4,
    .levels = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64, .boundaries = strata::boundaries::word_starts}}};

constexpr bool checked = strata::rules::check<broken>;
