// expect: strata: the rows of an n-gram table must be 0 (one for each n-gram) or positive, at most 67108864
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64, .ngrams = {{.length = 3, .rows = -5}}}}};

constexpr bool checked = strata::rules::check<broken>;
