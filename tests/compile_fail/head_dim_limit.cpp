// expect: strata: level 0: head_dim must be positive and even, at most 32768
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64, .head_dim = 32770}}};

constexpr bool checked = strata::rules::check<broken>;
