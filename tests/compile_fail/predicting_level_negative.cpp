// expect: strata: predicting_level must be the index of a level or least_compressed
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int predicting_level = -2;
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
