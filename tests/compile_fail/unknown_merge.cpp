// expect: strata: merge names one that does not exist; the list is in merges/merges.hpp
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view merge = "concatenated";
  static constexpr strata::level levels[] = {{.dim = 64}, {.compression = 2, .dim = 64}};
};

static_assert(strata::chosen_merge<broken>.levels.size() == 2);
