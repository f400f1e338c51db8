// expect: strata: level 0: ngrams has at most 8 tables
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64,
                                                        .ngrams = {{.rows = 1},
                                                                   {.rows = 2},
                                                                   {.rows = 3},
                                                                   {.rows = 4},
                                                                   {.rows = 5},
                                                                   {.rows = 6},
                                                                   {.rows = 7},
                                                                   {.rows = 8},
                                                                   {.rows = 9}}}}};

constexpr bool checked = strata::rules::check<broken>;
