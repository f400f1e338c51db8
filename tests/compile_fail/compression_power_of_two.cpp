// expect: strata: level 0: compression must be a power of two
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.compression = 3, .dim = 64, .heads = 2, .head_dim = 32}}};

constexpr bool checked = strata::rules::check<broken>;
