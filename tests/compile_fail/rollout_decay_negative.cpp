// expect: strata: next_latent.rollout_decay must be finite and not negative
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::next_latent_options next_latent = {.rollout_decay = -1};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
