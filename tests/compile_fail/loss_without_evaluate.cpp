// expect: strata: the loss lacks 'void evaluate(context, own, acts, scale, loss) const'
#include "parts.hpp"

struct broken : complete_loss {
  void evaluate() const;
};

static_assert(sizeof(trainer_of_loss<broken>) > 0);
