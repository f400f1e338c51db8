// expect: strata: no option of a merge can be called 'name': every merge has one
#include "parts.hpp"

struct broken : complete_merge {
  int number = 1;
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("name", own.number);
  }
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
