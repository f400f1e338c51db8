// expect: strata: the length of an n-gram must be from 2 to 16
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}}, .ngrams = {{.length = 2}, {.length = 1}}};

constexpr bool checked = strata::rules::check<broken>;
