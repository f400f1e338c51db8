// expect: strata: the loss lacks 'activations plan(activation_plan& plan, index_type batch, index_type tokens) const'
#include "parts.hpp"

struct broken : complete_loss {
  void plan() const;
};

constexpr auto count = strata::cost<strata::presets::small, strata::losses<broken>>::parameters;
