// expect: strata: the merge has a cache, but lacks 'cache plan_cache(memory_plan& plan, index_type batch) const'
#include "parts.hpp"

struct broken : caching_merge {
  void plan_cache() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
