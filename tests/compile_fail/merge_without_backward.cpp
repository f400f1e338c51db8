// expect: strata: the merge lacks 'void backward(p, own, acts, x, dx) const'
#include <strata/reference.hpp>

struct broken {
  strata::model_facts model = {};
  static constexpr std::string_view name = "broken";
  struct parameters {};
  struct activations {};
  template <class Table>
  constexpr parameters declare(Table&, int) const {
    return {};
  }
  constexpr activations plan(strata::activation_plan&, strata::index_type, strata::index_type) const { return {}; }
  constexpr double forward_flops(strata::index_type, strata::index_type) const { return 0; }
  constexpr double step_flops() const { return 0; }
  template <class Backend>
  void forward(const strata::pass<Backend>&, const parameters&, const activations&,
               strata::level_streams<typename Backend::scalar>) const {}
  template <class Backend>
  void recompute(const strata::pass<Backend>&, const parameters&, const activations&,
                 strata::level_streams<typename Backend::scalar>) const {}
};
inline constexpr strata::basic_description<broken> model{.levels = {{.dim = 64}, {.compression = 2, .dim = 64}}};

static_assert(sizeof(strata::trainer<model, strata::reference<float>>) > 0);
