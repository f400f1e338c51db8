// expect: strata: an hourglass has a level without compression and others whose stride is their compression
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .before = 1, .after = 1}, {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
