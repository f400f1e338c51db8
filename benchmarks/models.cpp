// Whole models: training steps, forward passes, reading a prompt and decoding of `small` and `base` in tokens a second, and as fractions
// of the multiply-add peak (training, forward) and of the bandwidth of reading the weights that a token needs (decoding).
#include <benchmark/benchmark.h>
#include <string>

#include "bounds.hpp"

namespace {

using strata::index;

std::vector<std::uint8_t> some_bytes() {
  std::vector<std::uint8_t> bytes(1 << 16);
  for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::uint8_t>(n * n * 2654435761u >> 13);
  return bytes;
}

template <class Config>
void training(benchmark::State& state, strata::cpu_options backend_options, index batch) {
  strata::cpu backend(backend_options);
  if (!backend.message().empty()) {
    state.SkipWithError(backend.message().c_str());
    return;
  }
  strata::training_options options;
  options.batch = batch;
  strata::trainer<Config, strata::cpu> trainer(backend, options);
  const auto bytes = some_bytes();
  trainer.train_step(bytes);  // the first step touches all memory
  for (auto _ : state) trainer.train_step(bytes);
  const double tokens = static_cast<double>(batch * Config::max_length);
  state.counters["tokens/s"] = benchmark::Counter(tokens, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] =
      benchmark::Counter(strata::cost<Config>::training_flops(batch, Config::max_length) / bounds::peak_flops(backend),
                         benchmark::Counter::kIsIterationInvariantRate);
}

template <class Config>
void forward(benchmark::State& state, int threads, index batch) {
  strata::cpu backend({.threads = threads});
  strata::transformer<Config, strata::cpu, strata::purpose::inference> model(backend);
  std::vector<strata::token> ids(static_cast<std::size_t>(batch * Config::max_length));
  for (std::size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<strata::token>(n * 7919 % 256);
  const strata::view<const strata::token, 2> input{ids.data(), {batch, Config::max_length}};
  model.forward(input);
  for (auto _ : state) benchmark::DoNotOptimize(model.forward(input).data);
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(ids.size()), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] =
      benchmark::Counter(strata::cost<Config>::forward_flops(batch, Config::max_length) / bounds::peak_flops(backend),
                         benchmark::Counter::kIsIterationInvariantRate);
}

/// A prompt of 512 tokens from the start of a text.
template <class Config>
void prefill(benchmark::State& state, int threads, strata::weight_format format) {
  constexpr index prompt = 512;
  strata::cpu backend({.threads = threads});
  const strata::transformer<Config, strata::cpu, strata::purpose::inference> model(backend);
  strata::generator<Config, strata::cpu> writer(model, 1, {.weights = format});
  std::vector<strata::token> ids(prompt);
  for (std::size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<strata::token>(n * 7919 % 256);
  for (auto _ : state) {
    writer.reset();
    benchmark::DoNotOptimize(writer.read({ids.data(), {1, prompt}}).data);
  }
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(prompt), benchmark::Counter::kIsIterationInvariantRate);
}

/// Bytes of weights that a token reads: with one text each is used in one multiplication and addition.
template <class Config>
double bytes_a_token(strata::weight_format format) {
  double flops = strata::cost<Config>::inference_flops_per_token;
  for (const auto& level : strata::facts<Config>::levels)
    flops -= Config::depth * 4.0 * level.attention_dim() * static_cast<double>(level.span) / level.stride;
  return flops / 2 * (format == strata::weight_format::float32 ? 4 : format == strata::weight_format::bfloat16 ? 2 : 1);
}

/// One token after a prompt of `prompt` tokens.
template <class Config>
void decoding(benchmark::State& state, int threads, int prompt, strata::weight_format format) {
  strata::cpu backend({.threads = threads});
  const strata::transformer<Config, strata::cpu, strata::purpose::inference> model(backend);
  strata::generator<Config, strata::cpu> writer(model, 1, {.weights = format});
  strata::token id = 1;
  const std::vector<strata::token> ids(static_cast<std::size_t>(prompt), id);
  writer.read({ids.data(), {1, prompt}});
  for (auto _ : state) {
    const auto logits = writer.step({&id, {1}});
    sample(backend, {}, static_cast<std::uint64_t>(writer.position()), logits, {&id, {1}});
  }
  const double bytes = bytes_a_token<Config>(format);
  state.counters["tokens/s"] = benchmark::Counter(1, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_bandwidth"] =
      benchmark::Counter(bytes / bounds::read_bandwidth(backend, bytes), benchmark::Counter::kIsIterationInvariantRate);
}

template <class Config>
void register_model(const std::string& name, index batch) {
  const auto add = [](const std::string& title, auto body) {
    benchmark::RegisterBenchmark(title.c_str(), body)->Unit(benchmark::kMillisecond)->UseRealTime()->MinTime(1);
  };
  for (const int threads : {1, 2}) {
    const std::string suffix = "/" + name + "/threads:" + std::to_string(threads);
    add("training" + suffix, [=](auto& state) { training<Config>(state, {.threads = threads}, batch); });
    add("training/eigen" + suffix, [=](auto& state) {
      training<Config>(state, {.threads = threads, .products = strata::product_provider::eigen}, batch);
    });
    add("training/bfloat16" + suffix, [=](auto& state) {
      training<Config>(state, {.threads = threads, .precision = strata::product_precision::bfloat16}, batch);
    });
    add("forward" + suffix, [=](auto& state) { forward<Config>(state, threads, batch); });
    add("prefill" + suffix, [=](auto& state) { prefill<Config>(state, threads, strata::weight_format::float32); });
    add("prefill/int8" + suffix, [=](auto& state) { prefill<Config>(state, threads, strata::weight_format::int8); });
    for (const int prompt : {1, 2048})
      add("decoding" + suffix + "/prompt:" + std::to_string(prompt),
          [=](auto& state) { decoding<Config>(state, threads, prompt, strata::weight_format::float32); });
    add("decoding/bfloat16" + suffix,
        [=](auto& state) { decoding<Config>(state, threads, 1, strata::weight_format::bfloat16); });
    add("decoding/int8" + suffix,
        [=](auto& state) { decoding<Config>(state, threads, 1, strata::weight_format::int8); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  register_model<strata::presets::small>("small", 8);
  register_model<strata::presets::base>("base", 2);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
