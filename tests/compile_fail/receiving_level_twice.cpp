// expect: strata: receiving_levels names a level twice
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int receiving_levels[] = {0, strata::the_predicting_level};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
