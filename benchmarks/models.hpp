// Whole models: training, forward passes, reading a prompt and decoding, in tokens a second. Training and forward
// passes also as a fraction of the peak, decoding as a fraction of the bandwidth of reading weights. One program for
// each device.
#pragma once

#include <benchmark/benchmark.h>
#include <cstdint>
#include <vector>

#include "measuring.hpp"

namespace measuring {

using strata::token;

inline benchmark::Counter rate(double of_an_iteration) {
  return benchmark::Counter(of_an_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

inline std::vector<std::uint8_t> some_bytes() {
  std::vector<std::uint8_t> bytes(1 << 16);
  for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::uint8_t>(n * n * 2654435761u >> 13);
  return bytes;
}

template <class Device, const auto& D>
void training(benchmark::State& state, typename Device::backend_type& backend, index_type batch,
              strata::optimizer_kind optimizer = strata::optimizer_kind::adamw) {
  using backend_type = typename Device::backend_type;
  strata::training_options options;
  options.batch = batch;
  options.optimizer = optimizer;
  strata::trainer<D, backend_type> trainer(backend, options);
  const auto bytes = some_bytes();
  trainer.train_step(bytes);  // the first step touches all memory; on a device the second is recorded
  if (!strata::computes_at_once<backend_type>) trainer.train_step(bytes);
  for (auto _ : state) trainer.train_step(bytes);
  state.counters["tokens/s"] = rate(static_cast<double>(batch * D.max_length));
  state.counters["of_peak"] = rate(strata::cost<D>::training_flops(batch, D.max_length) / Device::peak_flops(backend));
  if (optimizer == strata::optimizer_kind::muon) {
    double flops = 0;
    for (const strata::matrix_place& place : strata::parameters<D>::hidden_matrices())
      flops += strata::muon_settings().flops(place);
    state.counters["muon_of_model_flops"] = flops / strata::cost<D>::training_flops(batch, D.max_length);
  }
}

template <class Device, const auto& D>
void forward(benchmark::State& state, typename Device::backend_type& backend, index_type batch) {
  strata::transformer<D, typename Device::backend_type, strata::inference> model(backend, 1);
  const auto ids = some_tokens(batch * D.max_length);
  const auto pass = [&] {
    benchmark::DoNotOptimize(model.forward({ids.data(), {batch, D.max_length}}).data);
    Device::wait(backend);
  };
  pass();
  for (auto _ : state) pass();
  state.counters["tokens/s"] = rate(static_cast<double>(ids.size()));
  state.counters["of_peak"] = rate(strata::cost<D>::forward_flops(batch, D.max_length) / Device::peak_flops(backend));
}

/// Reads a prompt of 512 tokens at the start of a text.
template <class Device, const auto& D>
void prefill(benchmark::State& state, typename Device::backend_type& backend, strata::weight_format format) {
  constexpr index_type prompt = 512;
  using backend_type = typename Device::backend_type;
  const strata::transformer<D, backend_type, strata::inference> model(backend, 1);
  strata::generator writer(model, 1, {.weights = format});
  const auto ids = some_tokens(prompt);
  for (auto _ : state) {
    writer.reset();
    benchmark::DoNotOptimize(writer.read({ids.data(), {1, prompt}}).data);
  }
  state.counters["tokens/s"] = rate(static_cast<double>(prompt));
}

/// Bytes of weights that a token reads. With one text, each weight is used in one multiply-add.
template <const auto& D>
double bytes_a_token(strata::weight_format format) {
  double flops = strata::cost<D>::inference_flops_per_token;
  for (const auto& level : strata::facts<D>::levels)
    flops -= D.depth * 4.0 * level.attention_dim() * static_cast<double>(level.span) / level.stride;
  return flops / 2 * (format == strata::weight_format::float32 ? 4 : format == strata::weight_format::bfloat16 ? 2 : 1);
}

/// Generates one token of each of `texts` texts, after a prompt of `prompt` tokens.
template <class Device, const auto& D>
void decoding(benchmark::State& state, typename Device::backend_type& backend, strata::weight_format format,
              std::size_t prompt, index_type texts) {
  using backend_type = typename Device::backend_type;
  const strata::transformer<D, backend_type, strata::inference> model(backend, 1);
  strata::generator writer(model, texts, {.weights = format});
  const std::vector<std::vector<token>> prompts(static_cast<std::size_t>(texts), std::vector<token>(prompt, 1));
  while (state.KeepRunningBatch(state.max_iterations)) {
    state.PauseTiming();  // until the prompt is read and its first token is there
    bool started = false;
    writer.generate(prompts, state.max_iterations + 1, {}, [&](index_type, token) {
      if (!started) state.ResumeTiming();
      started = true;
    });
  }
  const double bytes = bytes_a_token<D>(format);
  state.counters["tokens/s"] = rate(static_cast<double>(texts));
  state.counters["of_bandwidth"] = rate(bytes / Device::read_bandwidth(backend, bytes));
}

}  // namespace measuring
