// expect: strata: max_length must be positive
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.max_length = 0,
                                            .levels = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
