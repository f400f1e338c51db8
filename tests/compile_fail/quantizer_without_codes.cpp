// expect: strata: prophet_quantized needs at least 1 book of 2 codes of code_dim 1
#include <strata/strata.hpp>

static_assert(sizeof(strata::basic_prophet_quantized<2, 1>) > 0);
