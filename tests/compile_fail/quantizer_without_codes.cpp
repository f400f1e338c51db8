// expect: strata: prophet_quantized needs at least 1 book of 2 codes of code_dim 1
#include <strata/config/rules.hpp>

struct broken : strata::model_defaults {
  static constexpr strata::prophet_quantized_options prophet_quantized{.books = 2, .codes = 1};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .stride = 2, .dim = 64}};
};

static_assert(strata::rules::check<broken>());
