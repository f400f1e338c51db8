// expect: strata: an hourglass has at least one layer before, one after and one between them (depth is all)
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::hourglass_layers fine_layers = {.upsampling = strata::upsampling_kind::attention};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
