// expect: strata: level 2: compression must not exceed max_length
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .max_length = 16, .levels = {{.dim = 64}, {.compression = 2, .dim = 64}, {.compression = 32, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
