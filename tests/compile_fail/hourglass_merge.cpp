// expect: strata: an hourglass has no merges, so merge and receiving_levels must stay as they are
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.compression = 4, .stride = 4, .dim = 64}, {.dim = 64}},
                                            .receiving_levels = {strata::every_level},
                                            .fine_layers = {.before = 1, .after = 1}};

constexpr bool checked = strata::rules::check<broken>;
