// expect: strata: attention_dropout must be in [0, 1)
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr double attention_dropout = -0.1;
  static constexpr strata::level levels[] = {{.dim = 64}};
};

static_assert(strata::rules::check<broken>());
