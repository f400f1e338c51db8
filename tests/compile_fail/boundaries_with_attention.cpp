// expect: strata: levels whose boundaries follow the text have no attention between levels
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.depth = 4,
                                            .levels = {{.dim = 64, .before = 1, .after = 1},
                                                       {.compression = 4,
                                                        .stride = 4,
                                                        .dim = 64,
                                                        .upsampling = strata::upsampling_kind::attention,
                                                        .boundaries = strata::boundaries::word_starts}}};

constexpr bool checked = strata::rules::check<broken>;
