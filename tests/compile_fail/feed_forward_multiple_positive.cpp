// expect: strata: level 1: feed_forward_multiple must be positive
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64},
                                                       {.compression = 2, .dim = 64, .feed_forward_multiple = 0},
                                                       {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
