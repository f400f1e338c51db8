// Whether the parts of a model fit together: a description, its merge, losses and a backend.
#pragma once

#include <type_traits>

#include <strata/backend/backend.hpp>
#include <strata/config/rules.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

/// A description as a type: in a concept, nvcc calls no function whose template argument is a description.
template <const auto& D>
struct described {
  static constexpr const auto& value = D;
};
template <class Described>
constexpr bool follow_rules_of_merge() {
  return check_rules_of_merge<Described::value>();
}
template <class Described>
constexpr bool declare_merge() {
  parameter_plan table;
  static_cast<void>(chosen_merge<Described::value>.declare(table, 0));
  return true;
}
template <class Described, class Losses>
constexpr bool declare_losses() {
  parameter_plan table;
  Losses().of_model(facts<Described::value>::model).for_each([&](const auto& loss) {
    static_cast<void>(loss.declare(table));
  });
  return true;
}
template <const auto& D>
concept follows_rules_of_merge = requires {
  typename std::enable_if<follow_rules_of_merge<described<D>>()>::type;
};
template <const auto& D>
concept declares_merge = requires {
  typename std::enable_if<declare_merge<described<D>>()>::type;
};
template <const auto& D, class Losses>
concept declares_losses = requires {
  typename std::enable_if<declare_losses<described<D>, Losses>()>::type;
};
template <class Backend>
concept is_backend = requires {
  typename std::enable_if<check_backend<Backend>()>::type;
};
template <class Backend>
concept has_operations = requires {
  typename std::enable_if<check_operations<Backend>()>::type;
};

template <const auto& D, class Losses>
constexpr bool learns_by_losses_of_text() {
  for (std::size_t j = 1; facts<D>::follows_text && j < Losses::count; ++j)
    if (Losses::names[j] != boundary_ratio_loss::name) return false;
  return true;
}
template <const auto& D, class Losses>
struct check_losses_of_text {
  STRATA_RULE(
      passed, (learns_by_losses_of_text<D, Losses>()),
      "a model whose boundaries follow the text learns by cross_entropy, and by boundary_ratio_loss if they are "
      "learned: strata::losses<> or strata::losses<strata::boundary_ratio_loss>");
};

template <const auto& D, class Losses>
struct check_declared {
  STRATA_RULE(merge, !facts<D>::merges || declares_merge<D>, "'declare' of the merge must be constexpr");
  STRATA_RULE(losses, (declares_losses<D, Losses>), "'declare' of a loss must be constexpr");
  static constexpr bool passed = merge && losses;
};

}  // namespace detail

/// Whether description, merge and losses fit together; else the compiler names what is wrong.
template <const auto& D, class Learns>
concept check_network = rules::check<D> && check_merge<merge_of<D>> && passes<check_losses<losses_of<Learns>>> &&
    passes<check_merge_of_text<D>> && detail::follows_rules_of_merge<D> &&
    passes<detail::check_losses_of_text<D, losses_of<Learns>>> && passes<detail::check_declared<D, losses_of<Learns>>>;

/// As `check_network`, with the backend.
template <const auto& D, class Backend, class Learns>
concept check_parts = check_network<D, Learns> && detail::is_backend<Backend> && detail::has_operations<Backend> &&
    passes<check_merge_operations<merge_of<D>, Backend>> && passes<check_losses_operations<losses_of<Learns>, Backend>>;

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
struct anything {
  anything() = default;
  template <class Argument>
  anything(Argument&&);
  anything(const void*, anything);  // a view in braces
};
#define STRATA_OP(name, arguments)                                                                             \
  void name(any_backend&, anything, anything = {}, anything = {}, anything = {}, anything = {}, anything = {}, \
            anything = {}, anything = {}, anything = {}, anything = {}, anything = {}, anything = {});
STRATA_FOR_EACH_OPERATION(STRATA_OP)
#undef STRATA_OP

/// Checks without a sentence first what `check_parts` already said of the model itself.
template <class Backend, class Learns>
concept fit_small_model = passes<check_losses<strata::losses_of<Learns>>> &&
    declares_losses<small_model, strata::losses_of<Learns>> && check_parts<small_model, Backend, Learns>;

/// What stands in for a class of models whose parts do not fit together: the class with parts that do.
template <class Backend, class Learns, bool Fit = fit_small_model<Backend, Learns>>
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
