// A backward pass that computes activations again gives the same losses, embeddings and gradients to the bit.
#include <cstring>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

/// More than one layer that must be computed again.
template <class Model>
struct deep : Model {
  static constexpr auto description = strata::with(Model::description, [](auto& d) { d.depth = 4; });
};

template <class S, int Rank>
bool same_bits(const strata::view<S, Rank>& x, const strata::view<S, Rank>& y) {
  return x.shape == y.shape && std::memcmp(x.data, y.data, static_cast<std::size_t>(x.size()) * sizeof(S)) == 0;
}

template <class Model, class Backend>
void check_recomputing(Backend& backend) {
  constexpr strata::index_type batch = 2, length = 53;
  const auto ids = models::random_ids(batch, length, models::facts<Model>::vocabulary, 1);
  const strata::view<const strata::token, 2> input{ids.data(), {batch, length}};
  const auto weights = strata::loss_values(Model::losses);
  models::training_model<Model, Backend> plain(backend, 5), recomputing(backend, 5);
  recomputing.recompute_activations(true);
  for (const bool merge : {true, false}) {
    INFO("merge " << merge);
    const strata::forward_options options{.merge = merge, .dropout_seed = 7};
    const auto expected = plain.accumulate_gradients(input, weights, options, 0.5);
    const auto report = recomputing.accumulate_gradients(input, weights, options, 0.5);
    CHECK(report.total == expected.total);
    for (int l = 0; l < models::facts<Model>::level_count; ++l) {
      CHECK(same_bits(recomputing.token_embeddings(l), plain.token_embeddings(l)));
      CHECK(same_bits(recomputing.embeddings(l), plain.embeddings(l)));
    }
    for (const auto& entry : models::parameters<Model>::entries()) {
      INFO("gradient of " << entry.name);
      CHECK(recomputing.gradient_of(entry) == plain.gradient_of(entry));
    }
  }
  // The choice can change between passes; gradients add up as before.
  recomputing.recompute_activations(false);
  plain.recompute_activations(true);
  plain.accumulate_gradients(input);
  recomputing.accumulate_gradients(input);
  CHECK(same_bits(recomputing.gradients(), plain.gradients()));
}

template <class Model>
void check_on_every_backend() {
  strata::reference<double> in_double;
  check_recomputing<Model>(in_double);
  models::on_every_backend([](auto& backend) { check_recomputing<Model>(backend); });
}

}  // namespace

TEMPLATE_TEST_CASE("recomputing activations changes no bit", "", STRATA_MODELS, deep<models::mixed>,
                   deep<models::predicts_compressed>, deep<golden::four_levels_strided>) {
  check_on_every_backend<TestType>();
}
