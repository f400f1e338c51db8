// expect: strata: level 0: heads must be positive and at most 32768
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64, .heads = 32769}}};

constexpr bool checked = strata::rules::check<broken>;
