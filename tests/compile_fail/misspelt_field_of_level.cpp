// expect: hedas
#include <strata/strata.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 2, .dim = 64, .hedas = 4}}};
