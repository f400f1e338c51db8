// Training, forward passes, reading a prompt and decoding of `small` and `base` on one and on two threads.
#include "models.hpp"

#include <benchmark/benchmark.h>
#include <string>

#include "cpu_device.hpp"

namespace {

using measuring::cpu_device, strata::index_type;

template <const auto& D>
void register_model(const std::string& name, index_type batch) {
  const auto add = [](const std::string& title, const strata::cpu_options& options, auto body) {
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
  };
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
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
