// expect: strata: an hourglass has no merges, so merge must stay as it is
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::merge_target merge = strata::merge_target::all_levels;
  static constexpr strata::hourglass_layers fine_layers = {.before = 1, .after = 1};
  static constexpr strata::level levels[] = {{.compression = 4, .stride = 4, .dim = 64}, {.dim = 64}};
};

static_assert(strata::rules::check<broken>());
