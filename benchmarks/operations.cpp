// Operations of the cpu backend, and the time to hand work to its threads.
#include "operations.hpp"

#include <benchmark/benchmark.h>
#include <string>

#include "cpu_device.hpp"

namespace {

using measuring::cpu_device;

/// The time to hand work to all threads and to wait for them.
void parallel_region(benchmark::State& state) {
  strata::cpu& backend = cpu_device::open(cpu_device::standard);
  for (auto _ : state) backend.pool().run([](int) {});
}

}  // namespace

int main(int argc, char** argv) {
  strata::keep_freed_memory();
  benchmark::RegisterBenchmark("parallel_region", parallel_region)->Unit(benchmark::kMicrosecond)->UseRealTime();
  measuring::register_operations<cpu_device>();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  const double peak = cpu_device::peak_flops(cpu_device::open(cpu_device::standard));
  benchmark::AddCustomContext("peak_GFLOP/s", strata::to_text(peak / 1e9));
  benchmark::RunSpecifiedBenchmarks();
}
