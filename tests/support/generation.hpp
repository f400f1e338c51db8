// A generator beside the whole pass of its model.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <strata/model/generator.hpp>

/// The largest difference of the logits of a generator, which reads `prompt` tokens at once and the others one by one, from
/// those of a pass over all of ids [2,length].
template <class Model>
double worst_difference_of_generator(Model& model, const std::vector<strata::token>& ids, strata::index_type prompt,
                                     bool merge) {
  using strata::index_type;
  const auto length = static_cast<index_type>(ids.size()) / 2;
  const auto whole = model.forward({ids.data(), {2, length}}, {.merge = merge});
  strata::generator writer(model, 2, {.merge = merge});
  double worst = 0;
  const auto compare = [&](index_type t, const strata::view<const double, 2>& logits) {
    for (index_type b = 0; b < 2; ++b)
      for (index_type v = 0; v < logits.shape[1]; ++v) worst = std::max(worst, std::abs(logits(b, v) - whole(b, t, v)));
  };
  const auto column = [&](index_type first, index_type count) {
    std::vector<strata::token> own;
    for (index_type b = 0; b < 2; ++b)
      for (index_type t = first; t < first + count; ++t) own.push_back(ids[static_cast<std::size_t>(b * length + t)]);
    return own;
  };
  if (prompt > 0) {
    const auto own = column(0, prompt);
    compare(prompt - 1, writer.read({own.data(), {2, prompt}}));
  }
  for (index_type t = prompt; t < length; ++t) {
    const auto own = column(t, 1);
    compare(t, writer.step({own.data(), {2}}));
  }
  return worst;
}
