// What the cuda backend asks of the runtime, which only the stand-in counts, and what it says where the runtime refuses.
#include <vector>

#include <strata/cuda.hpp>

#include "cuda/training.hpp"
#include "cuda_on_cpu/runtime.hpp"
#include "support/catch.hpp"

namespace device_models {

TEST_CASE("a step neither allocates nor waits before its end, and is launched as graphs") {
  strata::cuda device;
  strata::training_options options;
  options.batch = 1;
  options.length = 8;
  options.accumulation = 3;
  strata::trainer<repeats, strata::cuda> run(device, options);
  run.train_step(text());  // operations find their algorithms and their scratch memory
  run.train_step(text());  // and are captured
  const auto before = cuda_on_cpu::counted_calls();
  run.train_step(text());
  const auto after = cuda_on_cpu::counted_calls();
  CHECK(after.allocations == before.allocations);
  CHECK(after.waits - before.waits == 1);
  CHECK(after.graph_launches - before.graph_launches == 3 + 1);
  CHECK(after.launches - before.launches <
        20);  // clearing, adding losses, and the optimizer's, which are captured anew
}

TEST_CASE("what a training and a generator had on the device is freed") {
  const std::size_t before = cuda_on_cpu::live_allocations();
  {
    strata::cuda device;
    train_and_write<many_things>(device, 1, strata::weight_format::float32);
    CHECK(cuda_on_cpu::live_allocations() > before);
  }
  CHECK(cuda_on_cpu::live_allocations() == before);
}

TEST_CASE("what the cuda backend cannot do it says in a sentence") {
  using Catch::Matchers::ContainsSubstring;
  cuda_on_cpu::set_device_count(0);
  CHECK_THROWS_WITH(strata::cuda(), ContainsSubstring("there is no device that this program can use"));
  cuda_on_cpu::set_device_count(1);
  CHECK_THROWS_WITH(strata::cuda({.device = 3}), ContainsSubstring("device 3 was asked for, but there are 1"));
  strata::cuda device;
  cuda_on_cpu::set_memory_limit(std::size_t{64} << 20);
  CHECK_THROWS_WITH((strata::transformer<many_things, strata::cuda>(device).reserve(4096, 64)),
                    ContainsSubstring("bytes were asked for, but of 67108864 bytes of device memory only"));
  cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
}

}  // namespace device_models
