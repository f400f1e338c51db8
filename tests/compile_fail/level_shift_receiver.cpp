// expect: strata: level_shift: a receiving level is too narrow for a channel of every other level
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "level_shift";
  static constexpr strata::level levels[] = {{.dim = 3}, {.compression = 2, .dim = 8}, {.compression = 4, .dim = 8}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
