// expect: strata: an hourglass has no merges, so merge and receiving_levels must stay as they are
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int receiving_levels[] = {strata::every_level};
  static constexpr strata::hourglass_layers fine_layers = {.before = 1, .after = 1};
  static constexpr strata::level levels[] = {{.compression = 4, .stride = 4, .dim = 64}, {.dim = 64}};
};

static_assert(strata::rules::check<broken>());
