// expect: strata: an n-gram table needs .rows where there are more than 67108864 n-grams: a hash then chooses the row
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}}, .ngrams = {{.length = 4}}};

constexpr bool checked = strata::rules::check<broken>;
