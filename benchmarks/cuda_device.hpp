// The device cuda, for files that nvcc compiles: its peaks, and the main function of its programs.
#pragma once

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdio>
#include <map>
#include <string>

#include <strata/cuda.hpp>

#include "measuring.hpp"

namespace measuring {

struct cuda_device {
  using backend_type = strata::cuda;
  struct setup {
    const char* name;
    strata::cuda_options options;
  };
  static constexpr setup standard{"", {}}, tf32{"/tf32", {.precision = strata::cuda_precision::tf32}},
      bfloat16{"/bfloat16", {.precision = strata::cuda_precision::bfloat16}};
  static constexpr setup of_products[] = {standard, tf32, bfloat16}, of_attention[] = {standard, bfloat16};

  /// The backend of a setup, which all benchmarks share.
  static strata::cuda& open(const setup& own) {
    static std::map<std::string, strata::cuda> opened;
    return opened.try_emplace(own.name, own.options).first->second;
  }
  static void wait(strata::cuda& backend) { backend.synchronize(); }

  /// FLOP/s of a large matrix product by cuBLASLt in the backend's precision. Its inputs are random: zeros need less
  /// power, so the clock could rise. Measured once.
  static double peak_flops(strata::cuda& backend) {
    static std::map<strata::cuda_precision, double> known;
    double& peak = known[backend.products().precision()];
    if (peak > 0) return peak;
    constexpr index_type size = 8192;
    constexpr int products = 5;  // before each wait
    auto a = random_floats(backend, size * size), b = random_floats(backend, size * size);
    strata::device_buffer<float> c(size * size);
    strata::device_buffer<strata::bfloat16> rounded_a, rounded_b;
    const void *first = a.data(), *second = b.data();
    if (backend.products().precision() == strata::cuda_precision::bfloat16) {
      const auto round = [&](const strata::device_buffer<float>& values, auto& rounded) {
        rounded = strata::device_buffer<strata::bfloat16>(values.size());
        pack_bfloat16(backend, values.view(), rounded.view());
        return rounded.data();
      };
      first = round(a, rounded_a);
      second = round(b, rounded_b);
    }
    const auto multiply = [&] {
      for (int n = 0; n < products; ++n)
        backend.products().multiply({.transpose_a = true, .m = size, .n = size, .k = size}, first, second, nullptr,
                                    c.data(), backend.stream());
      wait(backend);
    };
    multiply();  // chooses the algorithm
    return peak = products * 2.0 * size * size * size / fastest(multiply);
  }

  /// Bytes a second of a copy, read and written together, that moves `bytes` in all. Small amounts stay in a cache.
  /// Measured once for each amount.
  static double bandwidth(strata::cuda& backend, double bytes) {
    static std::map<index_type, double> known;
    const auto count = static_cast<index_type>(bytes / 2 / sizeof(float));
    double& rate = known[count];
    if (rate > 0) return rate;
    auto from = random_floats(backend, count);
    strata::device_buffer<float> to(count);
    const auto operation = [&] { copy(backend, from.view(), to.view()); };
    repeated<cuda_device, decltype(operation)> copies(backend, operation);
    return rate = static_cast<double>(copies.count) * bytes / fastest([&] { copies.run(); });
  }
  /// The bandwidth of a copy also bounds reading weights.
  static double read_bandwidth(strata::cuda& backend, double bytes) { return bandwidth(backend, bytes); }

  /// Puts the device's name, its peaks and the bandwidth of moving 1 GB into the context of the results.
  static void describe() {
    open(standard);  // throws without a device
    int device = 0;
    cudaDeviceProp properties;
    STRATA_CUDA(cudaGetDevice(&device));
    STRATA_CUDA(cudaGetDeviceProperties(&properties, device));
    benchmark::AddCustomContext("device", properties.name);
    const auto add_peak = [](const char* name, const setup& own) {
      benchmark::AddCustomContext(name, strata::to_text(peak_flops(open(own)) / 1e9));
    };
    add_peak("peak_float32_GFLOP/s", standard);
    add_peak("peak_tf32_GFLOP/s", tf32);
    add_peak("peak_bfloat16_GFLOP/s", bfloat16);
    benchmark::AddCustomContext("bandwidth_GB/s", strata::to_text(bandwidth(open(standard), 1e9) / 1e9));
  }
};

/// The body of `main`.
template <class Register>
int run_on_cuda(int argc, char** argv, Register register_benchmarks) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  try {
    cuda_device::describe();
    register_benchmarks();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
}

}  // namespace measuring
