// Zeroed device memory, and pinned host memory through which batches are uploaded.
// Source: CUDA Programming Guide, "Stream-Ordered Memory Allocator" and "Page-Locked Host Memory".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include <strata/backend/cuda/error.hpp>
#include <strata/core/buffer.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// Owns `count` zeroed elements on the current device. The device's pool reuses freed memory without the driver. Do not
/// make or free one in a step: both wait for the device.
template <class T>
class device_buffer {
 public:
  device_buffer() = default;
  // Delegates, so that the destructor frees the memory if clearing it fails.
  explicit device_buffer(index_type count) : device_buffer() {
    require(count >= 0, "CUDA: memory for ", count, " elements was asked for");
    if (count == 0) return;
    require(static_cast<std::size_t>(count) <= PTRDIFF_MAX / sizeof(T),
            "CUDA: ", out_of_memory(static_cast<std::uint64_t>(count), sizeof(T)));
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
    void* memory = nullptr;
    const cudaError_t status = cudaMallocAsync(&memory, bytes, nullptr);
    if (status == cudaErrorMemoryAllocation) {
      std::size_t free = 0, total = 0;
      static_cast<void>(cudaGetLastError());  // clears the error, which is reported here
      STRATA_CUDA(cudaMemGetInfo(&free, &total));
      fail("CUDA: ", bytes, " bytes were asked for, but of ", total, " bytes of device memory only ", free,
           " are free");
    }
    device::check(status, "cudaMallocAsync", device::call_site::current());
    data_ = static_cast<T*>(memory);
    size_ = count;
    STRATA_CUDA(cudaMemsetAsync(data_, 0, bytes, nullptr));
    STRATA_CUDA(cudaStreamSynchronize(nullptr));  // the backend's stream does not wait for the null stream
  }
  device_buffer(device_buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  device_buffer& operator=(device_buffer&& other) noexcept {
    device_buffer taken(std::move(other));  // `other` is empty afterwards
    std::swap(data_, taken.data_);
    std::swap(size_, taken.size_);
    return *this;
  }
  ~device_buffer() {
    if (data_ == nullptr) return;
    cudaDeviceSynchronize();  // kernels may still use it
    cudaFreeAsync(data_, nullptr);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_type size() const { return size_; }
  strata::view<T, 1> view() { return {data_, {size_}}; }
  strata::view<const T, 1> view() const { return {data_, {size_}}; }

 private:
  T* data_ = nullptr;
  index_type size_ = 0;
};

/// Two pieces of pinned memory: the device copies from one while the host fills the other.
class pinned_uploads {
 public:
  pinned_uploads() = default;
  pinned_uploads(const pinned_uploads&) = delete;
  pinned_uploads& operator=(const pinned_uploads&) = delete;
  ~pinned_uploads() {
    for (const piece& each : pieces_) {
      if (each.copied != nullptr) cudaEventDestroy(each.copied);
      if (each.memory != nullptr) cudaFreeHost(each.memory);
    }
  }

  /// Copies `bytes` to `device` in the order of the stream. `host` may change as soon as this returns.
  void upload(const void* host, void* device, std::size_t bytes, cudaStream_t stream) {
    if (bytes == 0) return;
    piece& own = pieces_[next_];
    next_ = 1 - next_;
    if (own.copied == nullptr) STRATA_CUDA(cudaEventCreateWithFlags(&own.copied, cudaEventDisableTiming));
    STRATA_CUDA(cudaEventSynchronize(own.copied));  // the last upload from this piece
    if (own.bytes < bytes) {
      if (own.memory != nullptr) STRATA_CUDA(cudaFreeHost(std::exchange(own.memory, nullptr)));
      own.bytes = 0;
      STRATA_CUDA(cudaMallocHost(&own.memory, bytes));
      own.bytes = bytes;
    }
    std::memcpy(own.memory, host, bytes);
    STRATA_CUDA(cudaMemcpyAsync(device, own.memory, bytes, cudaMemcpyHostToDevice, stream));
    STRATA_CUDA(cudaEventRecord(own.copied, stream));
  }

 private:
  struct piece {
    void* memory = nullptr;
    std::size_t bytes = 0;
    cudaEvent_t copied = nullptr;
  };
  std::array<piece, 2> pieces_;
  std::size_t next_ = 0;
};

}  // namespace strata
