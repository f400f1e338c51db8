// expect: strata: an hourglass has two levels, one without compression and one whose stride is its compression
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 4, .stride = 2, .dim = 64}},
                                            .fine_layers = {.before = 1, .after = 1}};

constexpr bool checked = strata::rules::check<broken>;
