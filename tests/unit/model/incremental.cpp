// Token by token or as a whole: the same logits, three windows past the wrap of the longest ring; and prompts read at once.
#include "support/incremental.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

/// A prompt read at once, then steps, gives the logits of steps alone.
template <class Model, class Backend>
void check_prompts(Backend& backend, double tolerance, bool merge = true) {
  using F = models::facts<Model>;
  strata::index_type ring = 1;
  for (const strata::level_facts& level : F::levels)
    ring = std::max<strata::index_type>(ring, level.span * level.compression);
  const strata::index_type batch = 2, most = F::max_length + 7, length = most + 35;
  const models::inference_model<Model, Backend> model(backend, 7);
  const std::vector<strata::token> ids = models::random_ids(batch, length, F::vocabulary, 5);
  const auto token_at = [&](strata::index_type b, strata::index_type t) {
    return ids[static_cast<std::size_t>(b * length + t)];
  };
  const auto newest = [&](strata::index_type t) { return std::array{token_at(0, t), token_at(1, t)}; };

  models::generator<Model, Backend> stepping(model, batch, {.merge = merge}), reading(model, batch, {.merge = merge});
  std::vector<std::vector<typename Backend::scalar>> expected;
  for (strata::index_type t = 0; t < length; ++t) {
    const auto logits = stepping.step({newest(t).data(), {batch}});
    expected.emplace_back(logits.data, logits.data + logits.size());
  }
  for (const strata::index_type prompt :
       {strata::index_type{1}, strata::index_type{2}, strata::index_type{5}, strata::index_type{16},
        std::min(ring + 3, most - 1), strata::index_type{F::max_length}, most}) {
    CAPTURE(prompt);
    std::vector<strata::token> first;
    for (strata::index_type b = 0; b < batch; ++b)
      for (strata::index_type t = 0; t < prompt; ++t) first.push_back(token_at(b, t));
    double worst = 0, largest = 0;
    const auto compare = [&](strata::index_type t, strata::view<const typename Backend::scalar, 2> logits) {
      for (strata::index_type n = 0; n < logits.size(); ++n) {
        const auto wanted = expected[static_cast<std::size_t>(t)][static_cast<std::size_t>(n)];
        largest = std::max(largest, static_cast<double>(std::abs(wanted)));
        worst = std::max(worst, static_cast<double>(std::abs(logits.data[n] - wanted)));
        if (std::isnan(logits.data[n])) worst = 1e30;
      }
    };
    compare(prompt - 1, reading.read({first.data(), {batch, prompt}}));
    for (strata::index_type t = prompt; t < prompt + 35; ++t) compare(t, reading.step({newest(t).data(), {batch}}));
    CHECK(worst < tolerance * largest);
    CHECK(reading.position() == prompt + 35);
    reading.reset();
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a prompt read at once leaves behind what steps would", "", STRATA_MODELS) {
  strata::reference<double> exact;
  check_prompts<TestType>(exact, 1e-12);
  models::on_every_backend([](auto& backend) { check_prompts<TestType>(backend, 2e-5); });
}

TEMPLATE_TEST_CASE("incremental logits equal those of the whole sequence", "", STRATA_MODELS) {
  models::on_every_backend([](auto& backend) { models::check_incremental<TestType>(backend); });
}

TEMPLATE_TEST_CASE("a generator leaves out the merge where it is asked to", "", models::mixed, models::hourglass,
                   models::attending_hourglass) {
  strata::reference<float> backend;
  models::check_incremental<TestType>(backend, false);
  strata::reference<double> exact;
  check_prompts<TestType>(exact, 1e-12, false);
}

TEST_CASE("the cache does not grow with the text") {
  strata::reference<float> backend;
  const models::inference_model<models::mixed, strata::reference<float>> model(backend, 0);
  models::generator<models::mixed, strata::reference<float>> writer(model);
  const strata::token id = 3;
  for (int t = 0; t < 1000; ++t) writer.step({&id, {1}});
  CHECK(writer.position() == 1000);
  CHECK(models::cost<models::mixed>::cache_bytes(2) <= 2 * models::cost<models::mixed>::cache_bytes(1));
}
