// The cost of a training step by length of the texts, with the same number of tokens in a step, by width of the model,
// and by rows of an n-gram table. With windows, length should cost nothing; a flat model with full attention shows the
// difference. Rows should cost no more than cache misses.
#include <benchmark/benchmark.h>
#include <memory>
#include <string>
#include <vector>

#include "cpu_device.hpp"

namespace {

using strata::index_type;

constexpr int longest = 16384;

constexpr strata::description local_levels =
    strata::with(strata::presets::small, [](auto& d) { d.max_length = longest; });

constexpr strata::description flat_full{
    .max_length = longest,
    .depth = 4,
    .levels = {{.dim = 128, .heads = 4, .head_dim = 32, .window = strata::full_attention}}};

template <int Width>
constexpr strata::description of_width{
    .max_length = 512,
    .depth = 2,
    .levels = {{.dim = Width, .heads = Width / 32, .head_dim = 32, .window = 32},
               {.compression = 2, .dim = Width, .heads = Width / 32, .head_dim = 32, .window = 64}}};

template <int Rows>
constexpr strata::description with_rows = strata::with(of_width<64>,
                                                       [](auto& d) { d.ngrams = {{.length = 4, .rows = Rows}}; });

/// One training step on `tokens` tokens in texts of `length`.
template <const auto& D>
void training_step(benchmark::State& state, index_type length, index_type tokens) {
  strata::cpu backend;
  strata::training_options options;
  options.length = length;
  options.batch = tokens / length;
  strata::trainer<D, strata::cpu> trainer(backend, options);
  const std::vector<std::uint8_t> bytes(2 * longest, 7);
  trainer.train_step(bytes);  // the first step touches all memory
  for (auto _ : state) trainer.train_step(bytes);
  state.counters["tokens/s"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] = benchmark::Counter(
      strata::cost<D>::training_flops(options.batch, length) / measuring::cpu_device::peak_flops(backend),
      benchmark::Counter::kIsIterationInvariantRate);
}

/// Compares a step on one text of `longest` tokens with a step on as many tokens in texts of 512.
void growth(benchmark::State& state) {
  strata::cpu backend;
  using trainer = strata::trainer<local_levels, strata::cpu>;
  strata::training_options options;
  const auto of_length = [&](index_type length) {
    options.length = length;
    options.batch = longest / length;
    return std::make_unique<trainer>(backend, options);
  };
  const auto short_texts = of_length(512), one_text = of_length(longest);
  const std::vector<std::uint8_t> bytes(2 * longest, 7);
  measuring::compare_in_turn(
      state, [&] { short_texts->train_step(bytes); }, [&] { one_text->train_step(bytes); });
}

/// Compares a step of a model with a small table with a step of one whose table has 1024 times as many rows. The bytes
/// are random, so that nearly every token looks up a row of its own.
void growth_of_table(benchmark::State& state) {
  strata::cpu backend;
  strata::training_options options;
  options.batch = 1;
  strata::trainer<with_rows<4096>, strata::cpu> few(backend, options);
  strata::trainer<with_rows<4096 * 1024>, strata::cpu> many(backend, options);
  std::vector<std::uint8_t> bytes(1 << 20);
  for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = static_cast<std::uint8_t>(strata::mixed_bits(n));
  measuring::compare_in_turn(
      state, [&] { few.train_step(bytes); }, [&] { many.train_step(bytes); });
}

template <const auto& D>
void add(const std::string& name, index_type length, index_type tokens, int iterations) {
  benchmark::RegisterBenchmark(name.c_str(), [=](auto& state) { training_step<D>(state, length, tokens); })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->Iterations(iterations);
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  benchmark::RegisterBenchmark("growth/512_to_16384", growth)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->Iterations(9);
  benchmark::RegisterBenchmark("growth/table_4096_to_4194304", growth_of_table)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->Iterations(99);
  for (const strata::index_type length : {512, 1024, 2048, 4096, 8192, 16384})
    add<local_levels>("length/windows/" + std::to_string(length), length, longest, 3);
  for (const strata::index_type length : {512, 2048, 8192})
    add<flat_full>("length/full/" + std::to_string(length), length, longest, 1);
  add<of_width<64>>("width/64", 512, 4096, 4);
  add<of_width<128>>("width/128", 512, 4096, 4);
  add<of_width<256>>("width/256", 512, 4096, 2);
  add<of_width<512>>("width/512", 512, 4096, 2);
  add<of_width<1024>>("width/1024", 512, 4096, 1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
