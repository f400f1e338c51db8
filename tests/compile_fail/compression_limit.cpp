// expect: strata: level 1: compression must be a power of two, at most 16777216
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.max_length = 1 << 30,
                                            .levels = {{.dim = 64, .window = 8}, {.compression = 1 << 25, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
