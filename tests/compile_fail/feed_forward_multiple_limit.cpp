// expect: strata: level 0: feed_forward_multiple must be positive and at most 32768
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64, .feed_forward_multiple = 32769}}};

constexpr bool checked = strata::rules::check<broken>;
