// expect: strata: two levels have the same compression
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64}, {.compression = 2, .dim = 64}, {.compression = 2, .dim = 32}}};

constexpr bool checked = strata::rules::check<broken>;
