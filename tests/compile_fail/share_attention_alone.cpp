// expect: strata: share_attention needs two levels with attention and equal dim, heads and head_dim
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr bool share_attention = true;
  static constexpr strata::level levels[] = {
      {.dim = 64, .heads = 4}, {.compression = 2, .dim = 64}, {.compression = 4, .dim = 64, .window = 0}};
};

static_assert(strata::rules::check<broken>());
