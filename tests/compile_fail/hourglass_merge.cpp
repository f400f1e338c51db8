// expect: strata: an hourglass has no merges, so merge and receiving_levels must stay as they are
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.compression = 4, .stride = 4, .dim = 64}, {.dim = 64, .before = 1, .after = 1}},
    .receiving_levels = {strata::every_level}};

constexpr bool checked = strata::rules::check<broken>;
