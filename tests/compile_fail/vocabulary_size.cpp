// expect: strata: vocabulary must be at least 2
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.vocabulary = 1,
                                            .levels = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
