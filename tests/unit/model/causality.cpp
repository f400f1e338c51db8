// Changing token t leaves every logit before position t bit-identical, and changes some from t on.
#include <cstring>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

template <class Model, class Backend>
void check_causality(Backend& backend) {
  using S = typename Backend::scalar;
  constexpr strata::index_type batch = 2, length = 59;
  constexpr int vocabulary = models::facts<Model>::vocabulary;
  models::inference_model<Model, Backend> model(backend, 7);
  std::vector<strata::token> ids = models::random_ids(batch, length, vocabulary, 3);
  const strata::view<const strata::token, 2> input{ids.data(), {batch, length}};
  const auto logits_of_row_1 = [&] {
    const auto row = model.forward(input)[1];
    return std::vector<S>(row.data, row.data + row.size());
  };
  const std::vector<S> before = logits_of_row_1();
  for (const strata::index_type t : {1, 2, 16, 17, 31, 40, 57, 58}) {
    strata::token& changed = ids[static_cast<std::size_t>(length + t)];
    const strata::token old = changed;
    changed = (old + 1) % vocabulary;
    const std::vector<S> after = logits_of_row_1();
    changed = old;
    const auto unchanged = static_cast<std::size_t>(t * vocabulary);
    INFO("token " << t);
    CHECK(std::memcmp(before.data(), after.data(), unchanged * sizeof(S)) == 0);
    CHECK(std::memcmp(before.data() + unchanged, after.data() + unchanged,
                      static_cast<std::size_t>(vocabulary) * sizeof(S)) != 0);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("no logit depends on a later token", "", STRATA_MODELS) {
  models::on_every_backend([](auto& backend) { check_causality<TestType>(backend); });
}
