// expect: strata: the levels of an hourglass run in different layers and cannot share attention
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr bool share_attention = true;
  static constexpr strata::hourglass_layers fine_layers = {.before = 1, .after = 1};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 4, .stride = 4, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
