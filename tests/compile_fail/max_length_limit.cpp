// expect: strata: max_length must be positive and at most 1073741824
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.max_length = (1 << 30) + 1, .levels = {{.dim = 64, .window = 8}}};

constexpr bool checked = strata::rules::check<broken>;
