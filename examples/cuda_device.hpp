// The device cuda of the example programs, for files that nvcc compiles.
#pragma once

#include <limits>
#include <string>

#include <strata/cuda.hpp>

#include "device.hpp"

namespace examples {

struct cuda_device {
  using backend = strata::cuda;
  static constexpr const char* name = "cuda";

  static strata::cuda open(const device_options& options) {
    using precision = strata::cuda_precision;
    return strata::cuda(
        {.precision = named<precision>(
             {{"float32", precision::float32}, {"tf32", precision::tf32}, {"bfloat16", precision::bfloat16}},
             options.precision, "--precision", name)});
  }
  static int threads(const strata::cuda&) { return 0; }
  static std::string description(const strata::cuda&) {
    int device = 0;
    cudaDeviceProp properties;
    STRATA_CUDA(cudaGetDevice(&device));
    STRATA_CUDA(cudaGetDeviceProperties(&properties, device));
    return std::string("device ") + properties.name;
  }
  static std::string message(const strata::cuda&) { return {}; }
  /// Bytes that a run may need. No check is needed: the backend reports what the device cannot grant.
  static double memory() { return std::numeric_limits<double>::infinity(); }
};

}  // namespace examples
