// Trains five steps and prints the results.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "model.hpp"

void train() {
  strata::cpu backend({.threads = 2});
  strata::trainer<model, strata::cpu> trainer(backend, {.batch = 4});
  std::vector<std::uint8_t> text(5000);
  for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>(n * n / 7 % 200);
  double loss = 0, sum = 0;
  for (int step = 0; step < 5; ++step) loss = trainer.train_step(text).loss.total;
  const auto& weights = trainer.model().weights();
  for (strata::index_type n = 0; n < weights.size(); ++n) sum += static_cast<double>(std::abs(weights(n)));
  std::printf("train: loss %.9g, weights %.15g\n", loss, sum);
}

void train_wrongly() { strata::cpu({.threads = -1}); }
