// expect: strata: 'declare' of the merge must be constexpr
#include "parts.hpp"

int calls = 0;
struct broken : complete_merge {
  template <class Table>
  parameters declare(Table&, int) const {
    ++calls;
    return {};
  }
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
