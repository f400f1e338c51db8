// expect: strata: two losses have the same name
#include <strata/reference.hpp>

using twice = strata::losses<strata::reconstruction, strata::basic_prophet_quantized<2, 4, 4>,
                             strata::basic_prophet_quantized<2, 8, 4>>;

static_assert(sizeof(strata::trainer<strata::presets::small, strata::reference<float>, twice>) > 0);
