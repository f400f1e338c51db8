// expect: strata: predicting_level must be the index of a level or least_compressed
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}},
                                            .predicting_level = -2};

constexpr bool checked = strata::rules::check<broken>;
