// What merges and losses have in common: a name, the facts of the model, and offsets of parameters and activations.
#pragma once

#include <concepts>
#include <string_view>
#include <type_traits>

#include <strata/config/facts.hpp>

namespace strata::inline STRATA_ABI {

template <class Part>
concept has_name = requires {
  { Part::name } -> std::convertible_to<std::string_view>;
};
template <class Part>
concept has_model = requires(Part own) {
  own.model = model_facts();
};
template <class Part>
concept has_parameters = requires {
  typename Part::parameters;
};
template <class Part>
concept has_activations = requires {
  typename Part::activations;
};

struct any_option {
  template <class Option>
  constexpr void operator()(const char*, Option&) const {}
};
/// Whether an object of `Part` can be asked for options.
template <class Part>
concept has_options = requires(Part own) {
  own.for_each_option(own, any_option());
};
/// Whether files can ask for them too.
template <class Part>
concept has_static_options = requires(Part own, const Part fixed) {
  Part::for_each_option(own, any_option());
  Part::for_each_option(fixed, any_option());
};
/// Whether `Part` has an option of this name.
template <class Part>
constexpr bool has_option(std::string_view name) {
  bool found = false;
  if constexpr (has_options<Part>) {
    const Part own{};
    Part::for_each_option(own, [&](std::string_view key, const auto&) { found = found || key == name; });
  }
  return found;
}
/// Whether the options, if there are any, are known at compile time.
template <class Part>
concept has_constant_options =
    !has_options<Part> ||
    (has_static_options<Part> && requires { typename std::enable_if<!has_option<Part>("")>::type; });

}  // namespace strata
