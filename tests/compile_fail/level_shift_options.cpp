// expect: strata: level_shift: feed_forward_multiple must be positive
#include <strata/strata.hpp>

inline constexpr strata::basic_description<strata::level_shift> broken{
    .merge = {.feed_forward_multiple = 0}, .levels = {{.dim = 64}, {.compression = 2, .dim = 32}}};

static_assert(strata::check_rules_of_merge<broken>());
