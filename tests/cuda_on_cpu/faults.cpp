// faults NAME: does something wrong that a sanitizer finds, or nothing wrong ("none").
#include <cstdio>
#include <cstring>

#include "cuda_on_cpu/device.hpp"

namespace {

constexpr unsigned threads = 64;

__global__ void write_global(float* y, int offset) { y[static_cast<int>(threadIdx.x) + offset] = 1; }

__global__ void write_static(float* y, int offset) {
  STRATA_SHARED(values, float[threads]);
  float* const first = values;
  first[static_cast<int>(threadIdx.x) + offset] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void write_dynamic(float* y, int offset) {
  STRATA_DYNAMIC_SHARED(float, values);
  values[static_cast<int>(threadIdx.x) + offset] = 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

template <bool HasBarrier>
__global__ void mirror(float* y, int) {
  STRATA_SHARED(values, float[threads]);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (HasBarrier) __syncthreads();
  y[threadIdx.x] = values[threads - 1 - threadIdx.x];
}

/// Every second lane reads what its neighbour wrote.
template <bool HasBarrier>
__global__ void swap_lanes(float* y, int) {
  STRATA_SHARED(values, float[threads]);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (HasBarrier) __syncwarp();
  y[threadIdx.x] = values[threadIdx.x ^ 1u];
}

/// Overwrites what others may still read.
__global__ void write_too_soon(float* y, int) {
  STRATA_SHARED(values, float[threads]);
  values[threadIdx.x] = 1;
  __syncthreads();
  const float other = values[threads - 1 - threadIdx.x];
  values[threadIdx.x] = other + 1;
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void add_all(float* y, int) { atomicAdd(y, 1.f); }

void after_free(float* y) {
  cudaFree(y);
  strata::device::start_kernel(write_global, dim3(1), dim3(threads), 0, nullptr, y, 0);
}

struct fault {
  const char* name;
  void (*kernel)(float*, int);
  int offset;
};
constexpr fault faults[] = {
    {"none", write_global, 0},
    {"none", write_static, 0},
    {"none", write_dynamic, 0},
    {"none", mirror<true>, 0},
    {"none", swap_lanes<true>, 0},
    {"none", add_all, 0},
    {"global_overrun", write_global, 1},
    {"global_underrun", write_global, -1},
    {"static_overrun", write_static, 1},
    {"dynamic_overrun", write_dynamic, 1},
    {"race", mirror<false>, 0},
    {"race_in_warp", swap_lanes<false>, 0},
    {"race_after_read", write_too_soon, 0},
};

}  // namespace

int main(int count, char** words) {
  const char* const name = count == 2 ? words[1] : "";
  void* memory = nullptr;
  cudaMalloc(&memory, threads * sizeof(float));
  float* const y = static_cast<float*>(memory);
  cudaMemset(y, 0, threads * sizeof(float));
  if (std::strcmp(name, "use_after_free") == 0) after_free(y);
  for (const fault& each : faults)
    if (std::strcmp(name, each.name) == 0)
      strata::device::start_kernel(each.kernel, dim3(2), dim3(threads), threads * sizeof(float), nullptr, y,
                                   each.offset);
  const cudaError_t error = cudaDeviceSynchronize();
  std::printf("%s: %s\n", name, cudaGetErrorName(error));
  return error == cudaSuccess ? 0 : 1;
}
