// expect: strata: level_attention: heads, head_dim and window must be positive
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "level_attention";
  static constexpr strata::level_attention_options level_attention{.window = 0};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 32}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
