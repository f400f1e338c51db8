// The cuda backend: a device, one stream for all its work, cuBLASLt and scratch memory.
// Source: docs/cuda.md.
#pragma once

#include <memory>
#include <utility>

#include <strata/backend/backend.hpp>
#include <strata/backend/cuda/buffer.hpp>
#include <strata/backend/cuda/device.hpp>
#include <strata/backend/cuda/error.hpp>
#include <strata/backend/exclusive_use.hpp>

namespace strata::inline STRATA_ABI {

class cuda_products;

/// The format of factors of matrix products; sums are in float. On tensor cores `tf32` keeps 10 bits of the mantissa,
/// and `bfloat16` rounds to 7, in attention too.
enum class cuda_precision { float32, tf32, bfloat16 };

struct cuda_options {
  int device = 0;
  cuda_precision precision = cuda_precision::float32;
};

/// For one thread at a time. Operations return before the device is done; `upload` and `download` wait.
class cuda {
 public:
  using scalar = float;
  template <class T>
  using storage = device_buffer<T>;

  explicit cuda(cuda_options options = {});
  cuda(const cuda&) = delete;
  cuda& operator=(const cuda&) = delete;
  ~cuda();

  /// Begins an `exclusive_use`.
  bool enter() {
    require(!user_.forked(),
            "the cuda backend was made before this process was forked: CUDA works in the other process only");
    if (user_.is_this_thread()) return false;
    require(user_.take(),
            "the cuda backend is at work for another thread: it serves one at a time, so give each thread its own");
    return true;
  }
  void leave() { user_.leave(); }

  cudaStream_t stream() const { return stream_; }
  cuda_products& products() { return *products_; }
  pinned_uploads& uploads() { return uploads_; }

  /// Device memory of at least `count` floats for partial results of one operation, valid until the next call.
  float* scratch(index_type count) { return grown(scratch_, count); }
  /// The same for rounded factors of a matrix product, which may lie in `scratch` themselves.
  float* product_scratch(index_type count) { return grown(product_scratch_, count); }
  /// How often scratch memory has moved: a recorded graph holds its old address.
  index_type scratch_changes() const { return scratch_changes_; }

  /// Waits for the device, and throws its errors.
  void synchronize() { STRATA_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  float* grown(device_buffer<float>& memory, index_type count) {
    if (memory.size() < count) {
      synchronize();  // kernels may still use the old memory
      memory = device_buffer<float>();
      ++scratch_changes_;
      memory = device_buffer<float>(count);
    }
    return memory.data();
  }

  sole_user user_;
  cudaStream_t stream_ = nullptr;
  pinned_uploads uploads_;
  device_buffer<float> scratch_, product_scratch_;
  index_type scratch_changes_ = 0;
  std::unique_ptr<cuda_products> products_;
};

namespace device {

/// How a kernel is launched.
struct launch_shape {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  ///< dynamic, per block
  call_site at = call_site::current();
};

/// Runs kernel(arguments...) after all earlier launches. Without blocks it launches nothing.
template <class... Parameters, class... Arguments>
void launch(cuda& backend, const launch_shape& shape, void (*kernel)(Parameters...), Arguments&&... arguments) {
  if (shape.blocks.x == 0 || shape.blocks.y == 0 || shape.blocks.z == 0) return;
  start_kernel(kernel, shape.blocks, shape.threads, shape.shared_bytes, backend.stream(),
               static_cast<Parameters>(std::forward<Arguments>(arguments))...);
  check(cudaGetLastError(), "launching a kernel", shape.at);
}

/// CUDA's limit.
inline constexpr index_type most_blocks_in_y = 65535;

/// How many blocks of `threads` give each of `count` elements a thread.
constexpr unsigned blocks_for(index_type count, index_type threads) {
  return static_cast<unsigned>((count + threads - 1) / threads);
}

}  // namespace device
}  // namespace strata
