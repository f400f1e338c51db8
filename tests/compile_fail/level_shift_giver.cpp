// expect: strata: level_shift: a level is narrower than what a receiving level takes of it
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "level_shift";
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 31}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
