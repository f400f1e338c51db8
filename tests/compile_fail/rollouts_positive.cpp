// expect: strata: next_latent.rollouts must be positive
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::next_latent_options next_latent = {.rollouts = 0};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
