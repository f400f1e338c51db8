// expect: max_lenght
#include <strata/strata.hpp>

inline constexpr strata::description broken{.max_lenght = 512, .levels = {{.dim = 64}}};
