// CUDA C++ for a C++ compiler: what kernels use where nvcc does not compile them. strata/backend/cuda/device.hpp
// includes this where STRATA_CUDA_ON_CPU is defined.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <device_launch_parameters.h>  // threadIdx, blockIdx, blockDim, gridDim, warpSize
#include <tuple>
#include <type_traits>
#include <vector_functions.h>

#include "cuda_on_cpu/runtime.hpp"
#include "cuda_on_cpu/scheduler.hpp"

// Keywords. NVIDIA's headers define them as attributes that only nvcc knows.
#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __forceinline__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static_assert(false, "shared memory is declared by STRATA_SHARED here");
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

// One key for each function, and each instance of a template, that declares the variable. The memory belongs to the
// block.
#define STRATA_SHARED(name, ...)                                      \
  static const char name##_key = 0;                                   \
  using name##_type = typename std::type_identity<__VA_ARGS__>::type; \
  name##_type& name =                                                 \
      *static_cast<name##_type*>(::cuda_on_cpu::static_shared(&name##_key, sizeof(name##_type), alignof(name##_type)))
#define STRATA_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::cuda_on_cpu::dynamic_shared())

// CUDA's functions. The last argument is the place of the call; kernels leave it out.

inline void __syncthreads(cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  cuda_on_cpu::wait_for_block(false, at);
}
inline int __syncthreads_count(int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  return cuda_on_cpu::wait_for_block(predicate != 0, at).held;
}
inline int __syncthreads_or(int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  return cuda_on_cpu::wait_for_block(predicate != 0, at).held > 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const cuda_on_cpu::barrier_result result = cuda_on_cpu::wait_for_block(predicate != 0, at);
  return result.held == result.threads ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  cuda_on_cpu::exchange(mask, nullptr, nullptr, 0, 0, "__syncwarp", at);
}

namespace cuda_on_cpu {
template <class T>
__forceinline__ T shuffle(unsigned mask, const T& value, int source, const char* name, const place& at) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  T result;
  exchange(mask, &value, &result, sizeof(T), source, name, at);
  return result;
}
}  // namespace cuda_on_cpu

// `width`, a power of two, divides a warp into parts; each part shuffles by itself.
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = cuda_on_cpu::warp_size,
                              cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const int first = cuda_on_cpu::current_lane & -width;
  return cuda_on_cpu::shuffle(mask, value, first + (source & (width - 1)), "__shfl_sync", at);
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = cuda_on_cpu::warp_size,
                                 cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const int lane = cuda_on_cpu::current_lane, source = lane - static_cast<int>(distance);
  return cuda_on_cpu::shuffle(mask, value, source < (lane & -width) ? lane : source, "__shfl_up_sync", at);
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = cuda_on_cpu::warp_size,
                                   cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const int lane = cuda_on_cpu::current_lane, source = lane + static_cast<int>(distance);
  return cuda_on_cpu::shuffle(mask, value, source >= (lane & -width) + width ? lane : source, "__shfl_down_sync", at);
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = cuda_on_cpu::warp_size,
                                  cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const int lane = cuda_on_cpu::current_lane, source = lane ^ lanes;
  return cuda_on_cpu::shuffle(mask, value, source >= (lane & -width) + width ? lane : source, "__shfl_xor_sync", at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  return cuda_on_cpu::vote(mask, predicate != 0, "__ballot_sync", at);
}
inline int __any_sync(unsigned mask, int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  return cuda_on_cpu::vote(mask, predicate != 0, "__any_sync", at) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  return cuda_on_cpu::vote(mask, predicate == 0, "__all_sync", at) == 0 ? 1 : 0;
}

namespace cuda_on_cpu {
/// Atomic also for the thread sanitizer, although one system thread executes everything.
template <class T, class Change>
T change_atomically(T* address, Change change) {
  const std::atomic_ref<T> place(*address);
  T old = place.load(std::memory_order_relaxed);
  while (!place.compare_exchange_weak(old, change(old), std::memory_order_relaxed)) {
  }
  return old;
}
}  // namespace cuda_on_cpu

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return cuda_on_cpu::change_atomically(address, [value](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return cuda_on_cpu::change_atomically(address, [value](T old) { return value < old ? value : old; });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return cuda_on_cpu::change_atomically(address, [value](T old) { return old < value ? value : old; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return cuda_on_cpu::change_atomically(address, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return cuda_on_cpu::change_atomically(address, [=](T old) { return old == expected ? value : old; });
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// As fmin and fmax: of a number and a NaN, the number.
template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmin(a, b);
  else
    return b < a ? b : a;
}
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fmax(a, b);
  else
    return a < b ? b : a;
}

// Macros, because C libraries declare some of these names.
#define __expf(x) ::std::exp(static_cast<float>(x))
#define __logf(x) ::std::log(static_cast<float>(x))
#define rsqrtf(x) (1.f / ::std::sqrt(static_cast<float>(x)))
inline float __fdividef(float a, float b) { return a / b; }
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }

namespace strata::inline STRATA_ABI::device {

/// Four floats that are read or written at once; their address must be a multiple of 16.
template <class Float>
auto& four_at(Float* x, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  cuda_on_cpu::note_wide_access(x, sizeof(float4), at);
  return *reinterpret_cast<std::conditional_t<std::is_const_v<Float>, const float4, float4>*>(x);
}

/// Runs kernel(arguments...) in the order of the stream, with the current arguments. cudaGetLastError reports errors.
template <class... Parameters>
void start_kernel(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, std::size_t shared_bytes,
                  cudaStream_t stream, std::type_identity_t<Parameters>... arguments) {
  cuda_on_cpu::launch(
      blocks, threads, shared_bytes, stream,
      [kernel, kept = std::tuple<std::remove_const_t<Parameters>...>(arguments...)] { std::apply(kernel, kept); });
}

}  // namespace strata::device
