// expect: strata: the loss must have 'static constexpr void for_each_option(Own& own, Visit visit)', for a const Own too
#include "parts.hpp"

int calls = 0;
struct broken : complete_loss {
  template <class Own, class Visit>
  static void for_each_option(Own& own, Visit visit) {
    ++calls;
  }
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
