// expect: strata: receiving_levels must be indices of levels or the_predicting_level, or every_level alone
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}},
                                            .receiving_levels = {0, 2}};

constexpr bool checked = strata::rules::check<broken>;
