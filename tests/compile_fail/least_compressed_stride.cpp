// expect: strata: the predicting level must have stride 1, it gives a prediction at every token
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::level levels[] = {{.compression = 4, .dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
