// expect: strata: level 1: word_starts and lines are rules of bytes: vocabulary must be at most 256
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{
    .vocabulary = 1024,
    .depth = 3,
    .levels = {{.dim = 64, .before = 1, .after = 1},
               {.compression = 4, .stride = 4, .dim = 64, .boundaries = strata::boundaries::word_starts}}};

constexpr bool checked = strata::rules::check<broken>;
