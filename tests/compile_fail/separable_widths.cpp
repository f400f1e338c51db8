// expect: strata: the merge 'separable' needs levels of equal dim
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::separable> broken{
    .levels = {{.dim = 64}, {.compression = 2, .dim = 32}}};

static_assert(strata::check_rules_of_merge<broken>());
