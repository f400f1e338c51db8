// What the cuda backend asks of the runtime, which only the stand-in counts, and its errors where the runtime refuses.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <strata/cuda.hpp>

#include "cuda/training.hpp"
#include "cuda_on_cpu/runtime.hpp"
#include "support/catch.hpp"

namespace device_models {

using Catch::Matchers::ContainsSubstring;

TEST_CASE("a step neither allocates nor waits before its end, and is launched as graphs") {
  strata::cuda device;
  strata::training_options options;
  options.batch = 1;
  options.length = 8;
  options.accumulation = 3;
  auto run = models::make_trainer<repeats>(device, options);
  run.train_step(text());  // operations find their algorithms and scratch memory
  run.train_step(text());  // operations are captured
  const auto before = cuda_on_cpu::counted_calls();
  run.train_step(text());
  const auto after = cuda_on_cpu::counted_calls();
  CHECK(after.allocations == before.allocations);
  CHECK(after.waits - before.waits == 1);
  CHECK(after.graph_launches - before.graph_launches == 3 + 1);
  CHECK(after.launches - before.launches <
        20);  // clearing, adding losses, and the optimizer's, which are captured again
}

TEST_CASE("a step of decoding is launched as a graph, and allocates nothing") {
  strata::cuda device;
  const models::inference_model<many_things, strata::cuda> model(device, 0);
  strata::generator writer(model, 1);
  const std::vector<std::vector<strata::token>> prompts{{'a'}};
  writer.generate(prompts, 4, {}, [](auto, auto) {});  // operations find their algorithms and scratch memory
  std::vector<cuda_on_cpu::host_calls> calls;
  writer.generate(prompts, 6, {}, [&](auto, auto) { calls.push_back(cuda_on_cpu::counted_calls()); });
  REQUIRE(calls.size() == 6);
  for (std::size_t n = 2; n < 6; ++n) {
    CAPTURE(n);
    CHECK(calls[n].allocations == calls[n - 1].allocations);
    CHECK(calls[n].graph_launches == calls[n - 1].graph_launches + 1);
    CHECK(calls[n].waits == calls[n - 1].waits + 1);
  }
}

TEST_CASE("muon is launched as a graph, and neither allocates nor waits") {
  for (const auto precision : {strata::cuda_precision::float32, strata::cuda_precision::bfloat16}) {
    strata::cuda device({.precision = precision});
    const std::vector<strata::matrix_place> places{{0, 5, 9}, {45, 12, 12}, {189, 9, 5}};
    strata::device_buffer<float> gradient(234), norm(1), weight(234), first(234), second(234);
    strata::recording<strata::cuda, int> recorded;
    const auto step = [&] {
      recorded.run(device, 0, [&] {
        muon(device, {.normalised = true}, places, gradient.view(), norm.view(), weight.view(), first.view(),
             second.view());
      });
    };
    step();  // products find their algorithms and scratch memory
    step();  // the operation is captured
    const auto before = cuda_on_cpu::counted_calls();
    step();
    const auto after = cuda_on_cpu::counted_calls();
    CHECK(after.allocations == before.allocations);
    CHECK(after.waits == before.waits);
    CHECK(after.launches == before.launches);
    CHECK(after.graph_launches == before.graph_launches + 1);
  }
}

TEST_CASE("what a training and a generator had on the device is freed") {
  const std::size_t memory = cuda_on_cpu::live_allocations(), handles = cuda_on_cpu::live_handles();
  {
    strata::cuda device;
    train_and_write<repeats>(device, 3, strata::weight_format::float32);
    CHECK(cuda_on_cpu::live_allocations() > memory);
    CHECK(cuda_on_cpu::live_handles() > handles);
  }
  CHECK(cuda_on_cpu::live_allocations() == memory);
  CHECK(cuda_on_cpu::live_handles() == handles);
}

TEST_CASE("device memory that cannot be cleared is freed, and what was moved from holds none") {
  const auto live = [] {
    STRATA_CUDA(cudaDeviceSynchronize());  // a stream may still have to free something
    return cuda_on_cpu::live_allocations();
  };
  const std::size_t before = live();
  cuda_on_cpu::refuse_next_memset();
  CHECK_THROWS_WITH(strata::device_buffer<float>(3), ContainsSubstring("cudaMemsetAsync"));
  CHECK(live() == before);
  strata::device_buffer<float> to(3), from(5);
  to = std::move(from);
  CHECK(to.size() == 5);
  CHECK(from.size() == 0);
  CHECK(from.data() == nullptr);
  CHECK(live() == before + 1);
}

TEST_CASE("a training repeats to the bit") {
  strata::cuda device;
  const outcome first = train_and_write<repeats>(device, 3, strata::weight_format::float32);
  const outcome second = train_and_write<repeats>(device, 3, strata::weight_format::float32);
  CHECK((first.losses == second.losses));  // a message with these numbers would not help
  CHECK((first.norms == second.norms));
  CHECK(first.written == second.written);
}

TEST_CASE("what the cuda backend cannot do it says in a sentence") {
  cuda_on_cpu::set_device_count(0);
  CHECK_THROWS_WITH(strata::cuda(), ContainsSubstring("there is no device that this program can use"));
  cuda_on_cpu::set_device_count(1);
  CHECK_THROWS_WITH(strata::cuda({.device = 3}), ContainsSubstring("device 3 was asked for, but there are 1"));
  cuda_on_cpu::set_compute_capability(7);
  CHECK_THROWS_WITH(strata::cuda(), ContainsSubstring("has compute capability 7.6, but strata needs 8.0 or later"));
  cuda_on_cpu::set_compute_capability(8);
  strata::cuda device;
  cuda_on_cpu::set_memory_limit(std::size_t{64} << 20);
  CHECK_THROWS_WITH((models::training_model<many_things, strata::cuda>(device).reserve(4096, 64)),
                    ContainsSubstring("bytes were asked for, but of 67108864 bytes of device memory only"));
  // 4 * (2^62 + 1) bytes are 4 in 64 bits.
  CHECK_THROWS_WITH(strata::device_buffer<float>((strata::index_type{1} << 62) + 1),
                    ContainsSubstring("CUDA: 4611686018427387905 elements of 4 bytes were asked for"));
  cuda_on_cpu::set_memory_limit(std::size_t{4} << 30);
  const auto attend = [&](strata::index_type length, int head_dim) {
    attention(device, {1, length, 1, head_dim, 8, 1}, {}, {}, {}, {});
  };
  CHECK_THROWS_WITH(attend(8, 130), ContainsSubstring("heads of up to 128 channels, not of 130"));
  CHECK_THROWS_WITH(attend(64 * 65535 + 1, 16), ContainsSubstring("is over up to 4194240 positions, not 4194241"));
}

template <class = void>
__global__ void nothing() {}

TEST_CASE("an error names the call, the file and the line, and is reported once") {
  strata::cuda device;
  strata::device_buffer<float> x(3);
  const auto at_this_file = ContainsSubstring("host.cpp:");
  CHECK_THROWS_WITH(STRATA_CUDA(cudaSetDevice(3)), ContainsSubstring("CUDA: cudaSetDevice(3) failed at ") &&
                                                       at_this_file && ContainsSubstring("cudaErrorInvalidDevice"));
  cublasLtMatmulDesc_t product = nullptr;
  STRATA_CUDA(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  CHECK_THROWS_WITH(STRATA_CUDA(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, nullptr, 0)),
                    ContainsSubstring("cuBLASLt: cublasLtMatmulDescSetAttribute(") &&
                        ContainsSubstring(" failed at ") && at_this_file);
  cublasLtMatmulDescDestroy(product);
  CHECK_THROWS_WITH(strata::device::launch(device, {dim3(1, 65536), 32}, nothing<>),
                    ContainsSubstring("CUDA: launching a kernel failed at ") && at_this_file);
  // As many rows as a grid has columns of blocks for, and one more. The error names the line of the operation.
  const strata::index_type most = 65535 * 4 * 32;
  CHECK_THROWS_WITH(
      subsample(device, {nullptr, {1, 1, most + 1}}, 1, 0, {nullptr, {1, 1, most + 1}}),
      ContainsSubstring("CUDA: launching a kernel failed at ") && ContainsSubstring("cuda/resample.hpp:"));
  CHECK_NOTHROW(fill(device, 1.f, x.view()));
}

TEST_CASE("a product with packed weights has more rows than a grid has blocks") {
  strata::cuda device;
  constexpr strata::index_type rows = 4 * 65535 + 2;
  strata::device_buffer<float> x(rows), y(rows), weight(1), scale(1);
  strata::device_buffer<std::int8_t> packed(1);
  fill(device, 2.f, x.view());
  fill(device, 3.f, weight.view());
  pack_int8(device, {weight.data(), {1, 1}}, {packed.data(), {1, 1}}, scale.view());
  linear_int8(device, {x.data(), {rows, 1}}, {packed.data(), {1, 1}}, scale.view(), {}, {y.data(), {rows, 1}},
              strata::update::replace);
  std::vector<float> host(static_cast<std::size_t>(rows));
  download(device, y.view(), {host.data(), {rows}});
  CHECK(std::all_of(host.begin(), host.end(), [](float each) { return std::abs(each - 6) < 1e-5f; }));
}

}  // namespace device_models
