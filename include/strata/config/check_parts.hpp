// Whether the parts of a model fit together: a description, its merge, losses and a backend.
#pragma once

#include <type_traits>

#include <strata/backend/backend.hpp>
#include <strata/config/rules.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

template <const auto& D>
constexpr bool declare_merge() {
  parameter_plan table;
  static_cast<void>(chosen_merge<D>.declare(table, 0));
  return true;
}
template <const auto& D, class Losses, class Loss>
constexpr bool declare_loss() {
  parameter_plan table;
  static_cast<void>(Losses().of_model(facts<D>::model).template get<Loss>().declare(table));
  return true;
}
template <const auto& D>
concept declares_merge = requires {
  typename std::bool_constant<declare_merge<D>()>;
};
template <const auto& D, class Losses, class Loss>
concept declares_loss = requires {
  typename std::bool_constant<declare_loss<D, Losses, Loss>()>;
};

template <const auto& D>
struct check_declared_merge {
  STRATA_RULE(passed, declares_merge<D> || !facts<D>::merges, "'declare' of the merge must be constexpr");
};
template <const auto& D, class Losses, class Loss>
struct check_declared_loss {
  STRATA_RULE(passed, (declares_loss<D, Losses, Loss>), "'declare' of the loss must be constexpr");
};
template <const auto& D, class Losses>
struct check_declared_losses;
template <const auto& D, class... Loss>
struct check_declared_losses<D, losses<Loss...>> {
  static constexpr bool passed = (passes<check_declared_loss<D, losses<Loss...>, Loss>> && ...);
};

}  // namespace detail

/// Whether description, merge and losses fit together; else the compiler names what is wrong.
template <const auto& D, class Learns>
concept check_network =
    rules::check<D> && check_merge<merge_of<D>> && passes<check_losses<losses_of<Learns>>> && requires {
  typename std::enable_if<check_rules_of_merge<D>()>::type;
} && passes<detail::check_declared_merge<D>> && passes<detail::check_declared_losses<D, losses_of<Learns>>>;

/// As `check_network`, with the backend.
template <const auto& D, class Backend, class Learns>
concept check_parts = check_network<D, Learns> && requires {
  typename std::enable_if<check_backend<Backend>()>::type;
} && requires {
  typename std::enable_if<check_operations<Backend>()>::type;
} && passes<check_merge_operations<merge_of<D>, Backend>> &&
    passes<check_losses_operations<losses_of<Learns>, Backend>>;

namespace detail {

/// A small description that breaks no rule.
inline constexpr description small_model{
    .max_length = 4, .depth = 1, .levels = {{.dim = 2, .heads = 1, .head_dim = 2}}};

/// Declares every operation, for the stand-in of a model whose own backend lacks some.
struct any_backend {
  using scalar = float;
  template <class T>
  struct storage {
    explicit storage(index_type size = 0);
    index_type size() const;
    T* data() const;
    strata::view<T, 1> view() const;
  };
};
#define STRATA_OP(name, arguments) \
  template <class... Any>          \
  void name(any_backend&, Any&&...);
STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP

/// What stands in for a class of models whose parts do not fit together: the class with parts that do.
template <class Backend, class Learns, bool Fit = check_parts<small_model, Backend, Learns>>
struct stand_in {
  template <template <const auto&, class, class, bool> class Class>
  using of = Class<small_model, Backend, Learns, true>;
};
template <class Backend, class Learns>
struct stand_in<Backend, Learns, false> {
  using learns = std::conditional_t<std::is_same_v<Learns, inference>, inference, losses<>>;
  template <template <const auto&, class, class, bool> class Class>
  using of = Class<small_model, any_backend, learns, true>;
};

}  // namespace detail
}  // namespace strata
