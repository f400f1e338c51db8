// Models on a device: trained for some steps and asked to write. That nvcc compiles all operations, and that the program links
// with the toolkit's libraries, is the test; where there is a device it runs.
#include <cstdio>
#include <vector>

#include "cuda/models.hpp"

namespace {

template <class Config>
void train_and_write(strata::cuda& backend, const std::vector<std::uint8_t>& text) {
  strata::training_options options;
  options.batch = 2;
  options.length = 32;
  strata::trainer<Config, strata::cuda> trainer(backend, options);
  for (int step = 0; step < 5; ++step) trainer.train_step(text);
  const std::vector<std::vector<strata::token>> prompts{{'a', 'b', 'c'}};
  for (const auto format :
       {strata::weight_format::float32, strata::weight_format::bfloat16, strata::weight_format::int8}) {
    strata::generator writer(trainer.model(), 1, {.weights = format});
    writer.write(prompts, 10, {.temperature = 0}, [](auto, strata::token id) { std::printf("%d ", id); });
    std::printf("\n");
  }
}

}  // namespace

int main() {
  try {
    strata::cuda backend;
    std::vector<std::uint8_t> text(4000);
    for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>('a' + n * n % 23);
    train_and_write<device_models::many_things>(backend, text);
    train_and_write<device_models::attends_to_levels>(backend, text);
    train_and_write<device_models::separable>(backend, text);
    train_and_write<device_models::shifts_levels>(backend, text);
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}
