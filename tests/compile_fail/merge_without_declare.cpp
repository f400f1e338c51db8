// expect: strata: the merge lacks 'parameters declare(Table& table, int layer) const'
#include "parts.hpp"

struct broken : complete_merge {
  void declare() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
