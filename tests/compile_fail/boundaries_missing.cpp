// expect: strata: padding, at_boundaries and by_offset are of nested levels whose boundaries follow the text: set .boundaries
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .depth = 3,
    .levels = {{.dim = 64, .before = 1, .after = 1},
               {.compression = 4, .stride = 4, .dim = 64, .upsampling = strata::upsampling_kind::by_offset}}};

constexpr bool checked = strata::rules::check<broken>;
