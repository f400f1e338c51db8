// expect: strata: level 0: full attention reaches at most 65536 positions (xPos would overflow)
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.max_length = 65537,
                                            .levels = {{.dim = 64, .window = strata::full_attention},
                                                       {.compression = 2, .dim = 64},
                                                       {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
