// expect: strata: the loss lacks 'activations plan(activation_plan& plan, index_type batch, index_type tokens) const'
#include <strata/reference.hpp>

struct broken {
  double weight = 1;
  strata::model_facts model = {};
  static constexpr std::string_view name = "broken";
  struct parameters {};
  struct activations {};
  template <class Table>
  constexpr parameters declare(Table&) const {
    return {};
  }
};

static_assert(sizeof(strata::trainer<strata::presets::small, strata::reference<float>, strata::losses<broken>>) > 0);
