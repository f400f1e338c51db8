// expect: strata: 'check()' of the loss must be const
#include "parts.hpp"

struct broken : complete_loss {
  void check() {}
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
