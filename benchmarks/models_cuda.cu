// Training, forward passes, reading a prompt and decoding of `small` and `base` on the device cuda: with few texts, and
// with enough texts for a large device.
#include <benchmark/benchmark.h>
#include <string>

#include "cuda_device.hpp"
#include "models.hpp"

namespace {

using measuring::cuda_device, strata::index_type, strata::weight_format;

template <const auto& D>
void register_model(const std::string& name, index_type few_texts, index_type many_texts) {
  const auto add = [](const std::string& title, const cuda_device::setup& setup, auto body) {
    benchmark::RegisterBenchmark(title.c_str(),
                                 [=](benchmark::State& state) {
                                   try {
                                     body(state, cuda_device::open(setup));
                                   } catch (const strata::error& problem) {  // such as too little memory
                                     state.SkipWithError(problem.what());
                                   }
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->MinTime(1);
  };
  for (const auto& setup : cuda_device::of_products) {
    const std::string suffix = std::string(setup.name) + "/" + name;
    for (const index_type texts : {few_texts, many_texts}) {
      const std::string of_texts = suffix + "/texts:" + std::to_string(texts);
      add("training" + of_texts, setup,
          [=](auto& state, auto& backend) { measuring::training<cuda_device, D>(state, backend, texts); });
      add("forward" + of_texts, setup,
          [=](auto& state, auto& backend) { measuring::forward<cuda_device, D>(state, backend, texts); });
    }
    add("prefill" + suffix, setup,
        [](auto& state, auto& backend) { measuring::prefill<cuda_device, D>(state, backend, weight_format::float32); });
  }
  struct named_format {
    const char* name;
    weight_format format;
  };
  for (const named_format weights : {named_format{"", weight_format::float32},
                                     {"/bfloat16_weights", weight_format::bfloat16},
                                     {"/int8_weights", weight_format::int8}}) {
    const std::string suffix = std::string(weights.name) + "/" + name;
    if (weights.format != weight_format::float32)
      add("prefill" + suffix, cuda_device::standard,
          [=](auto& state, auto& backend) { measuring::prefill<cuda_device, D>(state, backend, weights.format); });
    for (const index_type texts : {1, 64})
      add("decoding" + suffix + "/texts:" + std::to_string(texts), cuda_device::standard,
          [=](auto& state, auto& backend) {
            measuring::decoding<cuda_device, D>(state, backend, weights.format, 1, texts);
          });
  }
}

}  // namespace

int main(int argc, char** argv) {
  return measuring::run_on_cuda(argc, argv, [] {
    register_model<strata::presets::small>("small", 8, 64);
    register_model<strata::presets::base>("base", 4, 32);
  });
}
