// expect: strata: no loss can have the name 'ignore_index': files have it beside the losses
#include "parts.hpp"

struct broken : complete_loss {
  static constexpr std::string_view name = "ignore_index";
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
