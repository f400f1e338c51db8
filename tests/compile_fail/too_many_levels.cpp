// expect: strata: a model has at most 8 levels
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64},
                                                       {.compression = 2, .dim = 64},
                                                       {.compression = 4, .dim = 64},
                                                       {.compression = 8, .dim = 64},
                                                       {.compression = 16, .dim = 64},
                                                       {.compression = 32, .dim = 64},
                                                       {.compression = 64, .dim = 64},
                                                       {.compression = 128, .dim = 64},
                                                       {.compression = 256, .dim = 64}}};

constexpr bool checked = strata::rules::check<broken>;
