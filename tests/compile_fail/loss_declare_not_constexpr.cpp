// expect: strata: 'declare' of a loss must be constexpr
#include "parts.hpp"

int calls = 0;
struct broken : complete_loss {
  template <class Table>
  parameters declare(Table&) const {
    ++calls;
    return {};
  }
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
