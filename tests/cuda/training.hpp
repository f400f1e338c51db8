// How tests train a model of bytes on two backends and compare their numbers.
#pragma once

#include <utility>
#include <vector>

#include <strata/strata.hpp>

#include "cuda/models.hpp"

namespace device_models {

using strata::index_type;

inline std::vector<std::uint8_t> text() {
  std::vector<std::uint8_t> bytes(4000);
  for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::uint8_t>('a' + n * n % 23);
  return bytes;
}

struct outcome {
  std::vector<double> losses, norms;
  std::vector<strata::token> written;
};

/// Some steps of training on `backend`, and the text that the model then generates with weights in `format`.
template <class Model, class Backend>
outcome train_and_write(Backend& backend, index_type steps, strata::weight_format format,
                        strata::optimizer_kind optimizer = strata::optimizer_kind::adamw) {
  strata::training_options options;
  options.optimizer = optimizer;
  options.batch = 2;
  options.length = 19;
  options.schedule = {.peak = 3e-3, .warmup = 2, .steps = steps};
  auto run = models::make_trainer<Model>(backend, options);
  const std::vector<std::uint8_t> bytes = text();
  outcome result;
  for (index_type step = 0; step < steps; ++step) {
    const auto report = run.train_step(bytes);
    for (std::size_t j = 0; j < report.loss.values.count; ++j) result.losses.push_back(report.loss.values[j]);
    result.norms.push_back(report.gradient_norm);
  }
  strata::generator writer(run.model(), 1, {.weights = format});
  const std::vector<std::vector<strata::token>> prompts{{'a', 'b', 'q', 'g'}};
  writer.generate(prompts, 12, {.threshold = 0.5, .seed = 5},
                  [&](auto, strata::token id) { result.written.push_back(id); });
  return result;
}

/// The losses of steps between which something changes: scratch memory, the shape of a batch, what is kept for the
/// gradient, the address of the trainer.
template <class Backend>
std::vector<double> losses_between_changes(Backend& backend) {
  strata::training_options options;
  options.batch = 2;
  options.length = 12;
  options.accumulation = 3;  // more batches in a step than pieces of pinned memory
  auto run = models::make_trainer<repeats>(backend, options);
  std::vector<double> losses;
  const auto train = [&](index_type steps) {
    for (index_type step = 0; step < steps; ++step) losses.push_back(run.train_step(text()).loss.total);
  };
  train(4);
  options.length = 40;
  models::make_trainer<repeats>(backend, options).train_step(text());  // needs more scratch memory
  train(3);
  run.evaluate(text(), 3);  // has another shape
  train(3);
  run.model().recompute_activations(true);
  train(3);
  auto moved = std::move(run);
  losses.push_back(moved.train_step(text()).loss.total);
  return losses;
}

// The same on the backend cpu. nvcc does not take its headers: on_cpu.cpp.
template <class Model>
outcome train_and_write_on_cpu(index_type steps, strata::weight_format format, strata::optimizer_kind optimizer);
std::vector<double> losses_between_changes_on_cpu();

}  // namespace device_models
