// expect: strata: level 1: compressor must be left out where compression is 1: there is nothing to attend to
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.compression = 2, .stride = 2, .dim = 64, .compressor = strata::compressor_kind::attention},
               {.dim = 64, .compressor = strata::compressor_kind::attention}}};

constexpr bool checked = strata::rules::check<broken>;
