// expect: strata: the merge lacks 'parameters declare(Table& table, int layer) const'
#include <strata/reference.hpp>

struct broken {
  strata::model_facts model = {};
  static constexpr std::string_view name = "broken";
  struct parameters {};
  struct activations {};
};
inline constexpr strata::basic_description<broken> model{.levels = {{.dim = 64}, {.compression = 2, .dim = 64}}};

static_assert(sizeof(strata::trainer<model, strata::reference<float>>) > 0);
