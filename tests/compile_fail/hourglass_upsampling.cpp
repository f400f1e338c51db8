// expect: strata: an hourglass has at least one layer before, one after and one between them (depth is all)
#include <strata/config/rules.hpp>

inline constexpr strata::description broken{.levels = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}},
                                            .fine_layers = {.upsampling = strata::upsampling_kind::attention}};

constexpr bool checked = strata::rules::check<broken>;
