// expect: strata: the backend lacks the type 'scalar'
#include <strata/strata.hpp>

struct bare {};

static_assert(sizeof(strata::trainer<strata::presets::small, bare>) > 0);
