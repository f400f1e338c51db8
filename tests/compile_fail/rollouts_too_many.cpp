// expect: strata: level 1: next_latent.rollouts must be fewer than the positions that max_length tokens make
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::next_latent_options next_latent = {.rollouts = 256};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
