// expect: strata: the loss must have 'static constexpr void for_each_option(Own& own, Visit visit)', for a const Own too
#include "parts.hpp"

struct broken : complete_loss {
  bool sharp = false;
  template <class Own, class Visit>
  constexpr void for_each_option(Own& own, Visit visit) const {
    visit("sharp", own.sharp);
  }
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
