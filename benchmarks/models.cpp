// Training, forward passes, reading a prompt and decoding of `small` and `base` on one and on two threads; training of
// sizes for a few minutes, with and without n-gram tables and Muon.
#include "models.hpp"

#include <benchmark/benchmark.h>
#include <string>

#include "../examples/models.hpp"
#include "cpu_device.hpp"

namespace {

using measuring::cpu_device, strata::index_type;

template <int Width>
constexpr strata::description flat{
    .max_length = 512, .depth = 3, .levels = {{.dim = Width, .heads = Width / 32, .head_dim = 32, .window = 64}}};
template <int Width>
constexpr strata::description with_tables = strata::with(flat<Width>, [](auto& d) {
  d.ngrams = {{.length = 2}, {.length = 3, .rows = 131072}};
});

template <class Body>
void add(const std::string& title, const strata::cpu_options& options, Body body) {
  benchmark::RegisterBenchmark(title.c_str(),
                               [=](benchmark::State& state) {
                                 strata::cpu backend(options);
                                 if (backend.message().empty())
                                   body(state, backend);
                                 else
                                   state.SkipWithError(backend.message().c_str());
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->MinTime(1);
}

/// Training with AdamW and with Muon.
template <const auto& D>
void register_size(const std::string& name, index_type batch) {
  for (const int threads : {1, 2}) {
    using strata::optimizer_kind;
    for (const auto optimizer : {optimizer_kind::adamw, optimizer_kind::muon}) {
      const std::string with = optimizer == optimizer_kind::muon ? "/muon" : "";
      add("training/" + name + with + "/threads:" + std::to_string(threads), {.threads = threads},
          [=](auto& state, auto& backend) { measuring::training<cpu_device, D>(state, backend, batch, optimizer); });
    }
  }
}

template <const auto& D>
void register_model(const std::string& name, index_type batch) {
  const auto training = [=](auto& state, auto& backend) { measuring::training<cpu_device, D>(state, backend, batch); };
  const auto prefill = [](strata::weight_format format) {
    return [=](auto& state, auto& backend) { measuring::prefill<cpu_device, D>(state, backend, format); };
  };
  const auto decoding = [](strata::weight_format format, std::size_t prompt) {
    return [=](auto& state, auto& backend) { measuring::decoding<cpu_device, D>(state, backend, format, prompt, 1); };
  };
  using strata::weight_format;
  for (const int threads : {1, 2}) {
    const std::string suffix = "/" + name + "/threads:" + std::to_string(threads);
    const strata::cpu_options standard{.threads = threads};
    add("training" + suffix, standard, training);
    add("training/muon" + suffix, standard, [=](auto& state, auto& backend) {
      measuring::training<cpu_device, D>(state, backend, batch, strata::optimizer_kind::muon);
    });
    add("training/own" + suffix, {.threads = threads, .products = strata::matrix_products::own}, training);
    add("training/bfloat16" + suffix, {.threads = threads, .precision = strata::product_precision::bfloat16}, training);
    add("forward" + suffix, standard,
        [=](auto& state, auto& backend) { measuring::forward<cpu_device, D>(state, backend, batch); });
    add("prefill" + suffix, standard, prefill(weight_format::float32));
    add("prefill/int8" + suffix, standard, prefill(weight_format::int8));
    for (const int prompt : {1, 2048})
      add("decoding" + suffix + "/prompt:" + std::to_string(prompt), standard,
          decoding(weight_format::float32, static_cast<std::size_t>(prompt)));
    add("decoding/bfloat16" + suffix, standard, decoding(weight_format::bfloat16, 1));
    add("decoding/int8" + suffix, standard, decoding(weight_format::int8, 1));
  }
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  register_model<strata::presets::small>("small", 8);
  register_model<strata::presets::base>("base", 2);
  register_size<flat<64>>("flat64", 1);
  register_size<with_tables<64>>("flat64/tables", 1);
  register_size<flat<128>>("flat128", 1);
  register_size<with_tables<128>>("flat128/tables", 1);
  register_size<strata::presets::half_minute>("half_minute", 4);
  register_size<strata::presets::two_minutes>("two_minutes", 4);
  register_size<strata::presets::ten_minutes>("ten_minutes", 4);
  register_size<examples::demo>("demo", 4);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
