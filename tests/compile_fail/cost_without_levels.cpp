// expect: strata: a description needs at least one level: .levels = {{.dim = 128}}
#include <strata/strata.hpp>

inline constexpr strata::description broken{.max_length = 64};

constexpr double flops = strata::cost<broken>::training_flops(1, 64) + strata::cost<broken>::inference_flops_per_token;
