// expect: strata: boundaries are of a compressed level: the finest has every token
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .depth = 4,
    .levels = {{.dim = 64, .before = 1, .after = 1, .boundaries = strata::boundaries::lines},
               {.compression = 4, .stride = 4, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
