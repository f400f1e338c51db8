// expect: strata: padding makes rows wider: dim must be at least that of the next finer level
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.depth = 3,
                                            .levels = {{.dim = 64, .before = 1, .after = 1},
                                                       {.compression = 4,
                                                        .stride = 4,
                                                        .dim = 32,
                                                        .compressor = strata::compressor_kind::padding,
                                                        .boundaries = strata::boundaries::word_starts}}};

constexpr bool checked = strata::rules::check<broken>;
