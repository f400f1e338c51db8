// expect: strata: depth must be positive
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int depth = 0;
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
