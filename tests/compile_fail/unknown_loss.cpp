// expect: strata: losses names one that does not exist; the list is in losses/losses.hpp
#include <strata/strata.hpp>

struct broken : strata::model_defaults {
  static constexpr std::string_view losses[] = {"reconstruction", "prophet"};
  static constexpr strata::level levels[] = {{.dim = 64}};
};

static_assert(strata::loss_values<broken>::count > 0);
