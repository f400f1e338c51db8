// expect: strata: level 1: stride must be a power of two
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64}, {.compression = 4, .stride = 3, .dim = 64}, {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
