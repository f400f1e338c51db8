// expect: strata: the merge lacks 'void step(p, own, acts, position, current, x) const'
#include "parts.hpp"

struct broken : complete_merge {
  void step() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
