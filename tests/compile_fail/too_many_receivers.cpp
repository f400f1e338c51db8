// expect: strata: receiving_levels has at most 8 entries
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 2, .dim = 64}},
                                            .receiving_levels = {0, 1, 0, 1, 0, 1, 0, 1, 0}};

constexpr bool checked = strata::rules::check<broken>;
