// Memory on the device, zeroed.
// Shapes: flat.
// Source: CUDA Runtime API, "Stream Ordered Memory Allocator".
#pragma once

#include <new>
#include <utility>

#include <strata/backend/cuda/error.hpp>
#include <strata/core/view.hpp>

namespace strata {

/// Owns `count` elements on the current device, zeroed. Neither making nor freeing one belongs into a step: both wait for the
/// device.
template <class T>
class device_buffer {
 public:
  device_buffer() = default;
  explicit device_buffer(index count) : size_(count) {
    if (count < 0) throw std::bad_alloc();
    if (count == 0) return;
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, bytes);
    if (status == cudaErrorMemoryAllocation) {
      std::size_t free = 0, total = 0;
      static_cast<void>(cudaGetLastError());  // it was reported here
      STRATA_CUDA(cudaMemGetInfo(&free, &total));
      fail("CUDA: ", bytes, " bytes were asked for, but of ", total, " bytes of device memory only ", free,
           " are free");
    }
    device::check(status, "cudaMalloc", device::call_site::current());
    data_ = static_cast<T*>(memory);
    STRATA_CUDA(cudaMemset(data_, 0, bytes));
    STRATA_CUDA(cudaDeviceSynchronize());
  }
  device_buffer(device_buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  device_buffer& operator=(device_buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~device_buffer() { cudaFree(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index size() const { return size_; }
  strata::view<T, 1> view() { return {data_, {size_}}; }
  strata::view<const T, 1> view() const { return {data_, {size_}}; }

 private:
  T* data_ = nullptr;
  index size_ = 0;
};

}  // namespace strata
