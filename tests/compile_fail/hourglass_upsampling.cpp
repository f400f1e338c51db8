// expect: strata: upsampling is of a compressed level
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .before = 1, .after = 1, .upsampling = strata::upsampling_kind::attention},
               {.compression = 4, .stride = 4, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
