// Operations of the cuda backend, and the time to launch a kernel.
#include <benchmark/benchmark.h>

#include "cuda_device.hpp"
#include "operations.hpp"

namespace {

using measuring::cuda_device;

template <class = void>
__global__ void empty_kernel() {}

void launch_empty_kernel(strata::cuda& backend) {
  strata::device::launch(backend, {dim3(1), dim3(strata::device::warp_size)}, empty_kernel<>);
}

/// Launches from the host, one after the other.
void launch(benchmark::State& state) {
  strata::cuda& backend = cuda_device::open(cuda_device::standard);
  constexpr int launches = 100;
  while (state.KeepRunningBatch(launches)) {
    for (int n = 0; n < launches; ++n) launch_empty_kernel(backend);
    cuda_device::wait(backend);
  }
}

/// Recorded launches, as for all operations below.
void launch_recorded(benchmark::State& state) {
  strata::cuda& backend = cuda_device::open(cuda_device::standard);
  const auto operation = [&] { launch_empty_kernel(backend); };
  measuring::repeated<cuda_device, decltype(operation)> launches(backend, operation);
  while (state.KeepRunningBatch(launches.count)) launches.run();
}

}  // namespace

int main(int argc, char** argv) {
  return measuring::run_on_cuda(argc, argv, [] {
    benchmark::RegisterBenchmark("launch", launch)->Unit(benchmark::kMicrosecond)->UseRealTime();
    benchmark::RegisterBenchmark("launch/recorded", launch_recorded)->Unit(benchmark::kMicrosecond)->UseRealTime();
    measuring::register_operations<cuda_device>();
  });
}
