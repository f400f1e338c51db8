// expect: strata: ignore_index must be a token of the vocabulary or ignore_nothing
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr int vocabulary = 67, ignore_index = 67;
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
