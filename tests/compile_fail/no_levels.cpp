// expect: strata: a description needs at least one level: .levels = {{.dim = 128}}
#include <strata/reference.hpp>

inline constexpr strata::description broken{.max_length = 64};

static_assert(sizeof(strata::trainer<broken, strata::reference<float>>) > 0);
