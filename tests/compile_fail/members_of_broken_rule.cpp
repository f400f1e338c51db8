// expect: strata: level 0: dim must be positive
#include <strata/reference.hpp>

inline constexpr strata::description broken{.levels = {{.heads = 2}}};
using learns = strata::default_losses;

#include "use_members.hpp"
