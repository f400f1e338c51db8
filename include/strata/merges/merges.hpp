// The merge of a description, and the checks of its members. Each merge of the library is one file beside this one;
// docs/extending.md says how to write your own.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <concepts>
#include <type_traits>

#include <strata/config/parts.hpp>
#include <strata/core/rule.hpp>
#include <strata/merges/concatenate.hpp>
#include <strata/merges/level_attention.hpp>
#include <strata/merges/level_shift.hpp>
#include <strata/merges/separable.hpp>

namespace strata::inline STRATA_ABI {

template <const auto& D>
using merge_of = std::remove_cvref_t<decltype(D.merge)>;

/// The merge that `D` describes, with its model filled in.
template <const auto& D>
inline constexpr merge_of<D> chosen_merge = [] {
  merge_of<D> own = D.merge;
  own.model = facts<D>::merged_model;
  return own;
}();

struct nothing_kept {};

/// What generation keeps for a merge, besides the streams.
template <class Merge>
struct merge_cache {
  using type = nothing_kept;
  static constexpr bool exists = false;
};
template <class Merge>
requires requires { typename Merge::cache; }
struct merge_cache<Merge> {
  using type = typename Merge::cache;
  static constexpr bool exists = true;
};

namespace detail {

template <class Merge>
concept has_declare = requires(const Merge own, parameter_plan table) {
  { own.declare(table, 0) } -> std::same_as<typename Merge::parameters>;
};
template <class Merge>
concept has_plan = requires(const Merge own, activation_plan plan, index_type size) {
  { own.plan(plan, size, size) } -> std::same_as<typename Merge::activations>;
};
template <class Merge>
concept has_forward_flops = requires(const Merge own, index_type size) {
  { own.forward_flops(size, size) } -> std::convertible_to<double>;
};
template <class Merge>
concept has_step_flops = requires(const Merge own) {
  { own.step_flops() } -> std::convertible_to<double>;
};
template <class Merge>
concept has_plan_cache = !merge_cache<Merge>::exists || requires(const Merge own, memory_plan plan, index_type batch) {
  { own.plan_cache(plan, batch) } -> std::same_as<typename merge_cache<Merge>::type>;
};

template <class Backend>
using streams_of = level_streams<typename Backend::scalar>;
template <class Merge, class Backend>
concept has_forward = requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
                               const typename Merge::activations acts, streams_of<Backend> x) {
  own.forward(p, parameters, acts, x);
};
template <class Merge, class Backend>
concept has_recompute = requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
                                 const typename Merge::activations acts, streams_of<Backend> x) {
  own.recompute(p, parameters, acts, x);
};
template <class Merge, class Backend>
concept has_backward = requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
                                const typename Merge::activations acts, streams_of<Backend> x) {
  own.backward(p, parameters, acts, x, x);
};
template <class Merge, class Backend>
concept has_step = merge_cache<Merge>::exists ||
    requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
             const typename Merge::activations acts, streams_of<Backend> x) {
  own.step(p, parameters, acts, index_type{}, x, x);
};
template <class Merge, class Backend>
concept has_step_with_cache =
    !merge_cache<Merge>::exists ||
    requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
             const typename Merge::activations acts, streams_of<Backend> x,
             const typename merge_cache<Merge>::type kept, const tensor_memory<typename Backend::scalar> memory) {
  own.step(p, parameters, acts, kept, memory, index_type{}, x, x);
};
template <class Merge, class Backend>
concept has_keep =
    !merge_cache<Merge>::exists ||
    requires(const Merge own, const pass<Backend> p, const typename Merge::activations acts,
             const typename merge_cache<Merge>::type kept, const tensor_memory<typename Backend::scalar> memory) {
  own.keep(p, acts, kept, memory);
};

/// What all other rules of a merge rely on.
template <class Merge>
struct check_merge_fields {
  STRATA_RULE(name, has_name<Merge>, "the merge lacks 'static constexpr std::string_view name'");
  STRATA_RULE(model, has_model<Merge>, "the merge lacks the field 'strata::model_facts model = {}'");
  STRATA_RULE(parameters, has_parameters<Merge>, "the merge lacks the type 'parameters'");
  STRATA_RULE(activations, has_activations<Merge>, "the merge lacks the type 'activations'");
  static constexpr bool passed = name && model && parameters && activations;
};
template <class Merge>
struct check_merge_members {
  STRATA_RULE(declares, has_declare<Merge>, "the merge lacks 'parameters declare(Table& table, int layer) const'");
  STRATA_RULE(plans, has_plan<Merge>,
              "the merge lacks 'activations plan(activation_plan& plan, index_type batch, index_type tokens) const'");
  STRATA_RULE(flops, has_forward_flops<Merge>,
              "the merge lacks 'double forward_flops(index_type batch, index_type tokens) const'");
  STRATA_RULE(flops_of_step, has_step_flops<Merge>, "the merge lacks 'double step_flops() const'");
  STRATA_RULE(plans_cache, has_plan_cache<Merge>,
              "the merge has a cache, but lacks 'cache plan_cache(memory_plan& plan, index_type batch) const'");
  STRATA_RULE(
      options, has_constant_options<Merge>,
      "the merge must have 'static constexpr void for_each_option(Own& own, Visit visit)', for a const Own too");
  static constexpr bool passed = declares && plans && flops && flops_of_step && plans_cache && options;
};
template <class Merge>
struct check_merge_options {
  STRATA_RULE(passed, !has_option<Merge>("name"), "no option of a merge can be called 'name': every merge has one");
};

}  // namespace detail

/// Whether `Merge` has every member; else the compiler names it.
template <class Merge>
concept check_merge = passes<detail::check_merge_fields<Merge>> && passes<detail::check_merge_members<Merge>> &&
    passes<detail::check_merge_options<Merge>>;
template <class Merge, class Backend>
struct check_merge_operations {
  STRATA_RULE(forward, (detail::has_forward<Merge, Backend>), "the merge lacks 'void forward(p, own, acts, x) const'");
  STRATA_RULE(recompute, (detail::has_recompute<Merge, Backend>),
              "the merge lacks 'void recompute(p, own, acts, x) const'");
  STRATA_RULE(backward, (detail::has_backward<Merge, Backend>),
              "the merge lacks 'void backward(p, own, acts, x, dx) const'");
  STRATA_RULE(step, (detail::has_step<Merge, Backend>),
              "the merge lacks 'void step(p, own, acts, position, current, x) const'");
  STRATA_RULE(step_with_cache, (detail::has_step_with_cache<Merge, Backend>),
              "the merge has a cache, but lacks 'void step(p, own, acts, kept, memory, position, current, x) const'");
  STRATA_RULE(keep, (detail::has_keep<Merge, Backend>),
              "the merge has a cache, but lacks 'void keep(p, acts, kept, memory) const'");
  static constexpr bool passed = forward && recompute && backward && step && step_with_cache && keep;
};

/// A merge with a cache looks at positions of levels, which must be at fixed tokens.
template <const auto& D>
struct check_merge_of_text {
  STRATA_RULE(passed, !facts<D>::merges || !facts<D>::follows_text || !merge_cache<merge_of<D>>::exists,
              "this merge attends to positions of levels, so their boundaries cannot follow the text");
};

/// True, or false with a compile error from a rule of the merge. A model without merges breaks no rule.
template <const auto& D>
constexpr bool check_rules_of_merge() {
  if constexpr (facts<D>::merges && requires { merge_of<D>::template check<chosen_merge<D>>(); })
    return merge_of<D>::template check<chosen_merge<D>>();
  return true;
}

template <class Merge>
constexpr typename merge_cache<Merge>::type plan_merge_cache(const Merge& own, memory_plan& plan, index_type batch) {
  if constexpr (merge_cache<Merge>::exists) return own.plan_cache(plan, batch);
  return {};
}
/// Call it after a `forward` from the start of the texts.
template <class Merge, class Backend, class S = typename Backend::scalar>
void keep_merge_cache(const Merge& own, const pass<Backend>& p, const typename Merge::activations& acts,
                      const typename merge_cache<Merge>::type& kept, const tensor_memory<S>& memory) {
  if constexpr (merge_cache<Merge>::exists) own.keep(p, acts, kept, memory);
}
/// One token at `position`. `current` holds the newest position of every level, and `x` the streams.
template <class Merge, class Backend, class S = typename Backend::scalar>
void merge_one_token(const Merge& own, const pass<Backend>& p, const typename Merge::parameters& parameters,
                     const typename Merge::activations& acts, const typename merge_cache<Merge>::type& kept,
                     const tensor_memory<S>& memory, index_type position, level_streams<S> current,
                     level_streams<S> x) {
  if constexpr (merge_cache<Merge>::exists)
    own.step(p, parameters, acts, kept, memory, position, current, x);
  else
    own.step(p, parameters, acts, position, current, x);
}

}  // namespace strata
