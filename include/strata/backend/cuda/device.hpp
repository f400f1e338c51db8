// What kernels need to compile with two compilers: nvcc, and the C++ compiler of the tests, which execute kernels on
// the CPU. Kernels use CUDA C++; this file defines what the two compilers spell differently.
// Source: CUDA C++ Programming Guide; tests/cuda_on_cpu/README.md.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <strata/core/platform.hpp>
#include <strata/core/view.hpp>

#if defined(__CUDACC__)
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "strata: devices need compute capability 8.0 or later: set CMAKE_CUDA_ARCHITECTURES, or nvcc's -arch"
#endif
#include <cuda_runtime.h>
#include <thrust/system/cuda/execution_policy.h>
/// A variable that the threads of a block share: STRATA_SHARED(rows, float[16][33]);
#define STRATA_SHARED(name, ...) __shared__ typename std::type_identity<__VA_ARGS__>::type name
/// Shared memory whose size the launch gives: STRATA_DYNAMIC_SHARED(float, rows); makes `float* const rows`.
#define STRATA_DYNAMIC_SHARED(T, name)                                           \
  extern __shared__ __align__(128) unsigned char strata_dynamic_shared_memory[]; \
  T* const name = reinterpret_cast<T*>(strata_dynamic_shared_memory)
namespace strata::inline STRATA_ABI::device {
/// Four floats, read or written at once. Their address must be a multiple of 16.
template <class Float>
__device__ __forceinline__ auto& four_at(Float* x) {
  return *reinterpret_cast<std::conditional_t<std::is_const_v<Float>, const float4, float4>*>(x);
}
/// Runs kernel(arguments...) in the order of the stream; an error shows in cudaGetLastError.
template <class... Parameters>
void start_kernel(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, std::size_t shared_bytes,
                  cudaStream_t stream, std::type_identity_t<Parameters>... arguments) {
  constexpr std::size_t without_asking = 32 * 1024;  // the limit is 48 KiB, static shared memory included
  if (shared_bytes > without_asking && cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                            static_cast<int>(shared_bytes)) != cudaSuccess)
    return;
  kernel<<<blocks, threads, shared_bytes, stream>>>(arguments...);
}
/// Calls algorithm(policy) of Thrust, which runs in the order of the stream. Does not wait.
template <class Algorithm>
void with_thrust(cudaStream_t stream, Algorithm algorithm) {
  algorithm(thrust::cuda::par_nosync.on(stream));
}
}  // namespace strata::device
#elif defined(STRATA_CUDA_ON_CPU)
#include "cuda_on_cpu/device.hpp"
#include "cuda_on_cpu/thrust.hpp"
#endif

// Every kernel is a template, if only `template <class = void>`: CUDA has no inline kernels, and two files may include
// the same one.
namespace strata::inline STRATA_ABI::device {

inline constexpr int warp_size = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;

/// The sum over the lanes of a warp, in every lane; always in the same order.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  STRATA_UNROLL
  for (int apart = warp_size / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(all_lanes, value, apart);
  return value;
}
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  STRATA_UNROLL
  for (int apart = warp_size / 2; apart > 0; apart /= 2) {
    const T other = __shfl_xor_sync(all_lanes, value, apart);
    value = other > value ? other : value;
  }
  return value;
}

/// The sum over the threads of a block, in every thread; always in the same order. All threads must call it. `slots` is
/// shared memory without other use until the next barrier.
template <int Threads, class T>
__device__ __forceinline__ T block_sum(T value, T (&slots)[Threads / warp_size]) {
  static_assert(Threads % warp_size == 0);
  const int thread = static_cast<int>(threadIdx.x);
  value = warp_sum(value);
  __syncthreads();  // an earlier call may still read the slots
  if (thread % warp_size == 0) slots[thread / warp_size] = value;
  __syncthreads();
  T total = slots[0];
  for (int warp = 1; warp < Threads / warp_size; ++warp) total += slots[warp];
  return total;
}

}  // namespace strata::device
