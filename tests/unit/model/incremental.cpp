// Token by token or as a whole: the same logits, three windows past the wrap of the longest ring.
#include <algorithm>
#include <cmath>

#include "golden/cases.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

template <class Config, class Backend>
void check_incremental(Backend& backend) {
  using F = strata::facts<Config>;
  strata::index ring = 1;  // tokens that the longest ring covers
  for (const strata::level_facts& level : F::levels)
    ring = std::max<strata::index>(ring, level.span * level.compression);
  const strata::index batch = 2, length = 4 * ring + 5;
  strata::transformer<Config, Backend, strata::purpose::inference> model(backend, 7);
  const std::vector<strata::token> ids = models::random_ids(batch, length, F::vocabulary, 5);
  const strata::view<const strata::token, 2> all{ids.data(), {batch, length}};
  const auto whole = model.forward(all);
  strata::generator<Config, Backend> writer(model, batch);

  for (const char* round : {"fresh", "after a reset"}) {
    INFO(round);
    double difference = 0, norm = 0, worst = 0;
    for (strata::index t = 0; t < length; ++t) {
      const strata::token newest[] = {all(0, t), all(1, t)};
      const auto logits = writer.step({newest, {batch}});
      for (strata::index b = 0; b < batch; ++b)
        for (strata::index v = 0; v < F::vocabulary; ++v) {
          const double expected = static_cast<double>(whole(b, t, v));
          const double distance = static_cast<double>(logits(b, v)) - expected;
          difference += distance * distance;
          norm += expected * expected;
          worst = std::max(worst, std::abs(distance));
        }
    }
    CHECK(std::sqrt(difference / norm) < 1e-5);
    CHECK(worst < 1e-4 * std::sqrt(norm / static_cast<double>(batch * length * F::vocabulary)));
    writer.reset();
  }
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("incremental logits equal those of the whole sequence", "", golden::cases) {
  models::on_every_backend([](auto& backend) { check_incremental<TestType>(backend); });
}

TEMPLATE_TEST_CASE("incremental logits of an unusual model equal those of the whole sequence", "", models::mixed,
                   models::predicts_compressed) {
  models::on_every_backend([](auto& backend) { check_incremental<TestType>(backend); });
}

TEST_CASE("the cache does not grow with the text") {
  strata::reference<float> backend;
  const strata::transformer<models::mixed, strata::reference<float>, strata::purpose::inference> model(backend);
  strata::generator<models::mixed, strata::reference<float>> writer(model);
  const strata::token id = 3;
  for (int t = 0; t < 1000; ++t) writer.step({&id, {1}});
  CHECK(writer.position() == 1000);
  CHECK(strata::cost<models::mixed>::cache_bytes(2) <= 2 * strata::cost<models::mixed>::cache_bytes(1));
}
