// expect: strata: level 0: window must be 0, positive, full_attention or automatic_window
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.dim = 64, .window = -3}, {.compression = 2, .dim = 64}, {.compression = 4, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
