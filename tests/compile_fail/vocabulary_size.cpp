// expect: strata: vocabulary must be at least 2
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int vocabulary = 1;
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
