// expect: strata: the levels of an hourglass run in different layers and cannot share attention
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .before = 1, .after = 1}, {.compression = 4, .stride = 4, .dim = 64}},
    .share_attention = true};

constexpr bool checked = strata::rules::check<broken>;
