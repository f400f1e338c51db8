// What merges and losses have in common: a name, the facts of the model, and offsets of parameters and activations.
#pragma once

#include <concepts>
#include <string_view>

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
concept has_offsets = requires {
  typename Part::parameters;
  typename Part::activations;
};

}  // namespace strata
