// expect: strata: the merge 'separable' needs levels of equal dim
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "separable";
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 32}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
