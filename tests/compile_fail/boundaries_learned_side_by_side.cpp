// expect: strata: levels whose boundaries follow the text have no attention between levels
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .depth = 4,
    .levels = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64, .boundaries = strata::boundaries::learned}}};

constexpr bool checked = strata::rules::check<broken>;
