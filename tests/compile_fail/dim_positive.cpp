// expect: strata: level 0: dim must be positive
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.heads = 2}, {.compression = 2, .dim = 64}, {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
