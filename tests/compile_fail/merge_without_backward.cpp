// expect: strata: the merge lacks 'void backward(p, own, acts, x, dx) const'
#include "parts.hpp"

struct broken : complete_merge {
  void backward() const;
};

static_assert(sizeof(trainer_of_merge<broken>) > 0);
