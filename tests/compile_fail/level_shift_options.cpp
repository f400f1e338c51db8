// expect: strata: level_shift: feed_forward_multiple must be positive
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "level_shift";
  static constexpr strata::level_shift_options level_shift{.feed_forward_multiple = 0};
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 32}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
