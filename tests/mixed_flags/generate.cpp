// Reads a text at once, then token by token, and prints what would follow.
#include <cmath>
#include <cstdio>

#include "model.hpp"

void generate(strata::view<const strata::token, 1> ids) {
  strata::cpu backend({.threads = 2});
  strata::transformer<model, strata::cpu, strata::inference> transformer(backend, 7);
  strata::generator<model, strata::cpu> writer(transformer);
  const auto sum = [](const auto& logits) {
    double result = 0;
    for (strata::index_type v = 0; v < logits.shape[1]; ++v) result += static_cast<double>(std::abs(logits(0, v)));
    return result;
  };
  const double read = sum(writer.read({ids.data, {1, ids.size()}}));
  double steps = 0;
  for (strata::index_type n = 0; n < ids.size(); ++n) steps += sum(writer.step({ids.data + n, {1}}));
  std::printf("generate: read %.15g, steps %.15g\n", read, steps);
}
