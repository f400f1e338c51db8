// expect: strata: feed_forward_dropout must be in [0, 1)
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr double feed_forward_dropout = 1.5;
  static constexpr strata::level levels[] = {{.dim = 64}};
};

static_assert(strata::rules::check<broken>());
