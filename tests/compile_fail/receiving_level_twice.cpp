// expect: strata: receiving_levels names a level twice
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}},
                                            .receiving_levels = {0, strata::the_predicting_level}};

constexpr bool checked = strata::rules::check<broken>;
