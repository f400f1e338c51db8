// Generation token by token gives the logits of the whole sequence, three windows past the wrap of the longest ring.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <strata/strata.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"
#include "support/numbers.hpp"

namespace models {

template <class Model, class Backend>
void check_incremental(Backend& backend, bool merge = true) {
  using F = facts<Model>;
  strata::index_type ring = 1;  // tokens that the longest ring covers
  for (const strata::level_facts& level : F::levels)
    ring = std::max<strata::index_type>(ring, level.span * level.compression);
  const strata::index_type batch = 2, length = 4 * ring + 5;
  inference_model<Model, Backend> model(backend, 7);
  const std::vector<strata::token> ids = random_ids(batch, length, F::vocabulary, 5);
  const strata::view<const strata::token, 2> all{ids.data(), {batch, length}};
  const std::vector<double> whole = workbench(backend).read(model.forward(all, {.merge = merge}));
  generator<Model, Backend> writer(model, batch, {.merge = merge});

  for (const char* round : {"fresh", "after a reset"}) {
    INFO(round);
    double difference = 0, norm = 0, worst = 0;
    for (strata::index_type t = 0; t < length; ++t) {
      const strata::token newest[] = {all(0, t), all(1, t)};
      const auto logits = writer.step({newest, {batch}});
      for (strata::index_type b = 0; b < batch; ++b)
        for (strata::index_type v = 0; v < F::vocabulary; ++v) {
          const double expected = whole[static_cast<std::size_t>((b * length + t) * F::vocabulary + v)];
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

}  // namespace models
