// expect: strata: the merge has a cache, but lacks 'void step(p, own, acts, kept, memory, position, current, x) const'
#include "parts.hpp"

struct broken : caching_merge {
  void step() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
