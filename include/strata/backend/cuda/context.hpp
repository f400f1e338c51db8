// The cuda backend: a device, one stream in whose order everything runs, cuBLASLt and the memory that operations share.
// Shapes: backend/backend.hpp.
// Source: docs/cuda.md.
#pragma once

#include <memory>
#include <utility>

#include <strata/backend/backend.hpp>
#include <strata/backend/cuda/buffer.hpp>
#include <strata/backend/cuda/device.hpp>
#include <strata/backend/cuda/error.hpp>

namespace strata::inline STRATA_ABI {

class cuda_products;

/// What products multiply; they always add in float. On tensor cores `tf32` takes 10 bits of the mantissa of both inputs, and
/// `bfloat16` rounds to 7, in attention too.
enum class cuda_precision { float32, tf32, bfloat16 };

struct cuda_options {
  int device = 0;
  cuda_precision precision = cuda_precision::float32;
};

/// Not to be used by two threads at once. Operations return before the device has done them; `upload` and `download` wait.
class cuda {
 public:
  using scalar = float;
  template <class T>
  using storage = device_buffer<T>;

  explicit cuda(cuda_options options = {});
  cuda(const cuda&) = delete;
  cuda& operator=(const cuda&) = delete;
  ~cuda();

  cudaStream_t stream() const { return stream_; }
  cuda_products& products() { return *products_; }
  pinned_uploads& uploads() { return uploads_; }

  /// Device memory for partial results of one operation, of at least `count` floats; it stays until the next call. Grows where
  /// an operation first needs more.
  float* scratch(index_type count);
  /// How often that memory has moved: work that was recorded before knows only the old one.
  index_type scratch_changes() const { return scratch_changes_; }

  /// Waits until the device has done everything, and throws what went wrong there.
  void synchronize() { STRATA_CUDA(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
  pinned_uploads uploads_;
  device_buffer<float> scratch_;
  index_type scratch_changes_ = 0;
  std::unique_ptr<cuda_products> products_;
};

namespace device {

/// How a kernel is launched.
struct launch_shape {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;  ///< of dynamic shared memory, a block
  call_site at = call_site::current();
};

/// Runs kernel(arguments...) after everything that was launched before. Nothing is launched where there are no blocks.
template <class... Parameters, class... Arguments>
void launch(cuda& backend, const launch_shape& shape, void (*kernel)(Parameters...), Arguments&&... arguments) {
  if (shape.blocks.x == 0 || shape.blocks.y == 0 || shape.blocks.z == 0) return;
  start_kernel(kernel, shape.blocks, shape.threads, shape.shared_bytes, backend.stream(),
               static_cast<Parameters>(std::forward<Arguments>(arguments))...);
  check(cudaGetLastError(), "launching a kernel", shape.at);
}

/// Blocks that a grid may have in y.
inline constexpr index_type most_blocks_in_y = 65535;

/// Blocks of `threads` that give each of `count` elements a thread.
constexpr unsigned blocks_for(index_type count, index_type threads) {
  return static_cast<unsigned>((count + threads - 1) / threads);
}

}  // namespace device
}  // namespace strata
