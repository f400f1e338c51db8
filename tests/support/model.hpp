// A model in the tests: a struct with a description, the losses with their options, and the dropout rates. The tests
// are named after these structs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <strata/strata.hpp>

namespace models {

/// The values of what a struct leaves out.
struct defaults {
  static constexpr strata::default_losses losses{};
  static constexpr strata::dropout_rates dropout{};
};

/// `losses` that ignore the token `id`.
template <class Losses>
constexpr Losses ignoring(strata::token id, Losses losses) {
  losses.ignore_index = id;
  return losses;
}

template <class Model>
using losses_of = std::remove_cvref_t<decltype(Model::losses)>;
template <class Model>
using facts = strata::facts<Model::description>;
template <class Model>
using parameters = strata::parameters<Model::description, losses_of<Model>>;
template <class Model>
using cost = strata::cost<Model::description, losses_of<Model>>;

/// Gives random values to what is zero at first, n-gram tables, learned token shifts and residuals of learned boundaries:
/// zeros would hide mistakes.
template <class Model>
void fill_zeros(Model& model) {
  auto values = strata::weights_of(model);
  std::uint64_t counter = 0;
  for (const strata::parameter_entry& entry : Model::parameters_type::entries())
    if (entry.kind == strata::parameter_kind::table || entry.name.ends_with(".shift") ||
        entry.name.ends_with(".residual.weight"))
      for (strata::index_type n = 0; n < entry.size; ++n)
        values[static_cast<std::size_t>(entry.offset + n)] =
            static_cast<typename Model::scalar>(strata::random_source(1).normal(9, counter++));
  if (counter > 0) strata::set_weights(model, values);
}

template <class Model, class Backend>
struct inference_model : strata::transformer<Model::description, Backend, strata::inference> {
  explicit inference_model(Backend& backend, std::optional<std::uint64_t> seed = {})
      : inference_model::transformer(backend, seed) {
    if (seed) fill_zeros(*this);
  }
};
template <class Model, class Backend>
using generator = strata::generator<Model::description, Backend>;

/// Learns from the losses of `Model`, with its dropout where a pass has a seed.
template <class Model, class Backend>
struct training_model : strata::transformer<Model::description, Backend, losses_of<Model>> {
  explicit training_model(Backend& backend, std::uint64_t seed = 0)
      : training_model::transformer(backend, seed, Model::losses) {
    this->set_dropout(Model::dropout);
    fill_zeros(*this);
  }
};

/// Trains a `training_model`.
template <class Model, class Backend>
auto make_trainer(Backend& backend, strata::training_options options) {
  options.dropout = Model::dropout;
  return strata::trainer<Model::description, Backend, losses_of<Model>>(backend, options, Model::losses);
}

}  // namespace models
