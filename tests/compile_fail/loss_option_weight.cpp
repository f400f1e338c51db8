// expect: strata: no option of a loss can be called 'weight': every loss has one
#include "parts.hpp"

struct broken : complete_loss {
  double own_weight = 1;
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("weight", own.own_weight);
  }
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
