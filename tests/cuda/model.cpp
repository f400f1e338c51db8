// Whole models on the cuda backend, whose kernels the CPU executes: trained and writing as on the cpu backend.
#include <algorithm>
#include <cmath>
#include <vector>

#include <strata/cpu.hpp>

#include "cuda/models.hpp"
#include "support/catch.hpp"

namespace strata {
namespace {

struct outcome {
  std::vector<double> losses, norms;
  std::vector<token> written;
};

/// Some steps of training on `backend`, and what the model then writes with its weights in `format`.
template <class Config, class Backend>
outcome train_and_write(Backend& backend, index steps, weight_format format) {
  std::vector<std::uint8_t> text(4000);
  for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>('a' + n * n % 23);
  training_options options;
  options.batch = 2;
  options.length = 19;
  options.schedule = {.peak = 3e-3, .warmup = 2, .steps = steps};
  trainer<Config, Backend> run(backend, options);
  outcome result;
  for (index step = 0; step < steps; ++step) {
    const auto report = run.train_step(text);
    for (std::size_t j = 0; j < loss_values<Config>::count; ++j) result.losses.push_back(report.loss.values[j]);
    result.norms.push_back(report.gradient_norm);
  }
  generator writer(run.model(), 1, {.weights = format});
  const std::vector<std::vector<token>> prompts{{'a', 'b', 'q', 'g'}};
  writer.write(prompts, 12, {.threshold = 0.5, .seed = 5}, [&](auto, token id) { result.written.push_back(id); });
  return result;
}

double worst_relative_difference(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double worst = 0;
  for (std::size_t n = 0; n < got.size(); ++n) {
    const double difference = std::abs(got[n] - expected[n]) / std::max(1.0, std::abs(expected[n]));
    if (!(difference <= worst)) worst = difference;  // not a number is the worst
  }
  return worst;
}

template <class Config>
void check_against_cpu(index steps, weight_format format) {
  cpu fast({.threads = 1});
  cuda device;
  const outcome expected = train_and_write<Config>(fast, steps, format);
  const outcome got = train_and_write<Config>(device, steps, format);
  CHECK(worst_relative_difference(got.losses, expected.losses) < 1e-4);
  CHECK(worst_relative_difference(got.norms, expected.norms) < 1e-4);
  CHECK(got.written == expected.written);
}

}  // namespace

TEST_CASE("20 steps of training on the cuda backend are those of cpu") {
  check_against_cpu<device_models::many_things>(20, weight_format::float32);
}
TEST_CASE("models with every merge train and write as on cpu, with weights in every format") {
  check_against_cpu<device_models::attends_to_levels>(2, weight_format::float32);
  check_against_cpu<device_models::separable>(2, weight_format::bfloat16);
  check_against_cpu<device_models::shifts_levels>(2, weight_format::int8);
}

namespace {

/// Without dropout: every pass is the same work.
struct repeats : device_models::many_things {
  static constexpr double embedding_dropout = 0, attention_dropout = 0, feed_forward_dropout = 0;
};

}  // namespace

TEST_CASE("a step neither allocates nor waits before its end, and is launched as graphs") {
  std::vector<std::uint8_t> text(4000, 'a');
  cuda device;
  training_options options;
  options.batch = 1;
  options.length = 8;
  options.accumulation = 3;
  trainer<repeats, cuda> run(device, options);
  run.train_step(text);  // operations find their algorithms and their scratch memory
  run.train_step(text);  // and are captured
  const auto before = cuda_on_cpu::counted_calls();
  run.train_step(text);
  const auto after = cuda_on_cpu::counted_calls();
  CHECK(after.allocations == before.allocations);
  CHECK(after.waits - before.waits == 1);
  CHECK(after.graph_launches - before.graph_launches == 3 + 1);
  CHECK(after.launches - before.launches <
        20);  // clearing, adding losses, and the optimizer's, which are captured anew
}

TEST_CASE("work that was recorded follows what its key, its memory and its shape become") {
  std::vector<std::uint8_t> text(4000);
  for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>('a' + n * n % 23);
  const auto outcome_on = [&](auto& backend) {
    using trainer_type = trainer<repeats, std::decay_t<decltype(backend)>>;
    training_options options;
    options.batch = 2;
    options.length = 12;
    trainer_type run(backend, options);
    std::vector<double> losses;
    const auto train = [&](index steps) {
      for (index step = 0; step < steps; ++step) losses.push_back(run.train_step(text).loss.total);
    };
    train(4);
    options.length = 40;
    trainer_type(backend, options).train_step(text);  // needs more scratch memory
    train(3);
    run.evaluate(text, 3);  // has another shape
    train(3);
    run.model().recompute_activations(true);
    train(3);
    auto moved = std::move(run);
    losses.push_back(moved.train_step(text).loss.total);
    return losses;
  };
  cpu fast({.threads = 1});
  cuda device;
  CHECK(worst_relative_difference(outcome_on(device), outcome_on(fast)) < 1e-4);
}

TEST_CASE("what a training and a generator had on the device is freed") {
  const std::size_t before = cuda_on_cpu::live_allocations();
  {
    cuda device;
    train_and_write<device_models::many_things>(device, 1, weight_format::float32);
    CHECK(cuda_on_cpu::live_allocations() > before);
  }
  CHECK(cuda_on_cpu::live_allocations() == before);
}

TEST_CASE("what the cuda backend cannot do it says in a sentence") {
  using Catch::Matchers::ContainsSubstring;
  cuda_on_cpu::set_device_count(0);
  CHECK_THROWS_WITH(cuda(), ContainsSubstring("there is no device that this program can use"));
  cuda_on_cpu::set_device_count(1);
  CHECK_THROWS_WITH(cuda({.device = 3}), ContainsSubstring("device 3 was asked for, but there are 1"));
  cuda device;
  cuda_on_cpu::set_memory_limit(std::size_t{64} << 20);
  CHECK_THROWS_WITH((transformer<device_models::many_things, cuda>(device).reserve(4096, 64)),
                    ContainsSubstring("bytes were asked for, but of 67108864 bytes of device memory only"));
  cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
}

}  // namespace strata
