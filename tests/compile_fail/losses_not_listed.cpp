// expect: strata: a model is for strata::inference or learns from strata::losses<..>
#include <strata/reference.hpp>

static_assert(sizeof(strata::transformer<strata::presets::small, strata::reference<float>, strata::reconstruction>) >
              0);
