// expect: strata: the name of a loss must not be empty
#include "parts.hpp"

struct broken : complete_loss {
  static constexpr std::string_view name = "";
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
