// A loss and a merge that have every member: each case takes one away.
#pragma once

#include <strata/reference.hpp>

struct complete_loss {
  double weight = 1;
  strata::model_facts model = {};
  static constexpr std::string_view name = "complete";
  struct parameters {};
  struct activations {};
  template <class Table>
  constexpr parameters declare(Table&) const {
    return {};
  }
  constexpr activations plan(strata::activation_plan&, strata::index_type, strata::index_type) const { return {}; }
  constexpr double head_flops(strata::index_type, strata::index_type) const { return 0; }
  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const strata::loss_context<Backend>&, const parameters&, const activations&, double,
                strata::output<S, 1>) const {}
};

struct complete_merge {
  strata::model_facts model = {};
  static constexpr std::string_view name = "complete";
  struct parameters {};
  struct activations {};
  template <class Table>
  constexpr parameters declare(Table&, int) const {
    return {};
  }
  constexpr activations plan(strata::activation_plan&, strata::index_type, strata::index_type) const { return {}; }
  constexpr double forward_flops(strata::index_type, strata::index_type) const { return 0; }
  constexpr double step_flops() const { return 0; }
  template <class Backend, class S = typename Backend::scalar>
  void forward(const strata::pass<Backend>&, const parameters&, const activations&, strata::level_streams<S>) const {}
  template <class Backend, class S = typename Backend::scalar>
  void recompute(const strata::pass<Backend>&, const parameters&, const activations&, strata::level_streams<S>) const {}
  template <class Backend, class S = typename Backend::scalar>
  void backward(const strata::pass<Backend>&, const parameters&, const activations&, strata::level_streams<S>,
                strata::level_streams<S>) const {}
  template <class Backend, class S = typename Backend::scalar>
  void step(const strata::pass<Backend>&, const parameters&, const activations&, strata::index_type,
            strata::level_streams<S>, strata::level_streams<S>) const {}
};

/// A complete merge with a cache.
struct caching_merge : complete_merge {
  struct cache {};
  constexpr cache plan_cache(strata::memory_plan&, strata::index_type) const { return {}; }
  template <class Backend, class S = typename Backend::scalar>
  void keep(const strata::pass<Backend>&, const activations&, const cache&, const strata::tensor_memory<S>&) const {}
  template <class Backend, class S = typename Backend::scalar>
  void step(const strata::pass<Backend>&, const parameters&, const activations&, const cache&,
            const strata::tensor_memory<S>&, strata::index_type, strata::level_streams<S>,
            strata::level_streams<S>) const {}
};

template <class Loss>
using trainer_of_loss = strata::trainer<strata::presets::small, strata::reference<float>, strata::losses<Loss>>;

template <class Merge>
inline constexpr strata::basic_description<Merge> description_of{
    .max_length = 64, .levels = {{.dim = 64}, {.compression = 2, .dim = 64}}};
template <class Merge>
using trainer_of_merge = strata::trainer<description_of<Merge>, strata::reference<float>>;
