// The merge of a description, and the checks of its members. Each merge of the library is one file beside this one;
// docs/extending.md says how to write your own.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <concepts>
#include <type_traits>

#include <strata/config/parts.hpp>
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
  own.model = facts<D>::model;
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
concept has_flops = requires(const Merge own, index_type size) {
  { own.forward_flops(size, size) } -> std::convertible_to<double>;
  { own.step_flops() } -> std::convertible_to<double>;
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
concept has_step = requires(const Merge own, const pass<Backend> p, const typename Merge::parameters parameters,
                            const typename Merge::activations acts, streams_of<Backend> x,
                            const typename merge_cache<Merge>::type kept,
                            const tensor_memory<typename Backend::scalar> memory) {
  requires merge_cache<Merge>::exists || requires { own.step(p, parameters, acts, index_type{}, x, x); };
  requires !merge_cache<Merge>::exists || requires {
    own.step(p, parameters, acts, kept, memory, index_type{}, x, x);
    own.keep(p, acts, kept, memory);
  };
};

}  // namespace detail

/// True, or false with a compile error that names the missing member of `Merge`.
template <class Merge>
constexpr bool check_merge() {
  using namespace detail;
  static_assert(has_name<Merge>, "strata: the merge lacks 'static constexpr std::string_view name'");
  static_assert(has_model<Merge>, "strata: the merge lacks the field 'strata::model_facts model = {}'");
  static_assert(has_offsets<Merge>, "strata: the merge lacks the type 'parameters' or 'activations'");
  static_assert(!has_offsets<Merge> || has_declare<Merge>,
                "strata: the merge lacks 'parameters declare(Table& table, int layer) const'");
  static_assert(
      has_plan<Merge>,
      "strata: the merge lacks 'activations plan(activation_plan& plan, index_type batch, index_type tokens) const'");
  static_assert(has_flops<Merge>,
                "strata: the merge lacks 'double forward_flops(index_type batch, index_type tokens) const' or "
                "'double step_flops() const'");
  if constexpr (has_name<Merge> && has_model<Merge> && has_offsets<Merge>)
    return has_declare<Merge> && has_plan<Merge> && has_flops<Merge>;
  return false;
}
template <class Merge, class Backend>
constexpr bool check_merge_operations() {
  using namespace detail;
  static_assert(has_forward<Merge, Backend>, "strata: the merge lacks 'void forward(p, own, acts, x) const'");
  static_assert(has_recompute<Merge, Backend>, "strata: the merge lacks 'void recompute(p, own, acts, x) const'");
  static_assert(has_backward<Merge, Backend>, "strata: the merge lacks 'void backward(p, own, acts, x, dx) const'");
  static_assert(has_step<Merge, Backend>,
                "strata: the merge lacks 'void step(p, own, acts, position, current, x) const', or with a cache "
                "'keep(p, acts, kept, memory)' or 'step(p, own, acts, kept, memory, position, current, x)'");
  return has_forward<Merge, Backend> && has_recompute<Merge, Backend> && has_backward<Merge, Backend> &&
         has_step<Merge, Backend>;
}

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
