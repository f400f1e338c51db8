// expect: strata: the merge has a cache, but lacks 'void keep(p, acts, kept, memory) const'
#include "parts.hpp"

struct broken : caching_merge {
  void keep() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
