// expect: strata: the predicting level must have stride 1, it gives a prediction at every token
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .levels = {{.compression = 4, .dim = 64}, {.compression = 2, .stride = 2, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
