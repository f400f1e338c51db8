// expect: strata: level 1: dim must be positive
#include <strata/reference.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64}, {.compression = 2}, {.compression = 4, .stride = 2, .dim = 64}}};

static_assert(sizeof(strata::transformer<broken, strata::reference<float>>) > 0);
