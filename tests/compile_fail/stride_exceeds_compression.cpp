// expect: strata: level 2: stride must not exceed compression
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64}, {.compression = 2, .dim = 64}, {.compression = 4, .stride = 8, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
