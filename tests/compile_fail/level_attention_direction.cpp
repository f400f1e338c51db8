// expect: strata: level_attention: a receiving level has no level in the direction chosen
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "level_attention";
  static constexpr strata::level_attention_options level_attention{.direction = strata::level_direction::finer};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 32}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
