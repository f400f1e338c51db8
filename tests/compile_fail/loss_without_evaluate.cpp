// expect: strata: a loss lacks 'void evaluate(context, own, acts, scale, loss) const'
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
  constexpr activations plan(strata::activation_plan&, strata::index_type, strata::index_type) const { return {}; }
  constexpr double head_flops(strata::index_type, strata::index_type) const { return 0; }
};

static_assert(sizeof(strata::trainer<strata::presets::small, strata::reference<float>, strata::losses<broken>>) > 0);
