// expect: strata: level 1: the reach of a boundary rule must be from 1 to 1024 tokens
#include <strata/config/rules.hpp>

inline constexpr strata::boundary_rule mine{"mine", [](std::span<const strata::token>) { return true; }, 0};
inline constexpr strata::description broken{
    .depth = 3,
    .levels = {{.dim = 64, .before = 1, .after = 1}, {.compression = 4, .stride = 4, .dim = 64, .boundaries = mine}}};

constexpr bool checked = strata::rules::check<broken>;
