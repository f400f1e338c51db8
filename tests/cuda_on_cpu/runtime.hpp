// What tests set and ask of the CUDA runtime on the CPU, and how device work enters a stream.
#pragma once

#include <cstddef>
#include <cuda_runtime_api.h>
#include <functional>
#include <string>

namespace cuda_on_cpu {

/// The last fault in words, also written to stderr. Empty after cudaDeviceReset.
std::string last_message();

/// The number of devices that programs find; with 0, calls fail as without a device. 1 at first.
void set_device_count(int count);
/// The major number; 8 at first.
void set_compute_capability(int major);
/// Bytes of device memory; 4 GiB at first.
void set_memory_limit(std::size_t bytes);
/// The next cudaMemsetAsync fails.
void refuse_next_memset();
/// How many allocations of device memory have not been freed.
std::size_t live_allocations();
/// How many pieces of pinned memory, streams, events, graphs and executable graphs have not been freed or destroyed.
std::size_t live_handles();

/// What the host has asked for since the start of the program.
struct host_calls {
  std::size_t allocations = 0;  ///< and frees, of device and of pinned memory
  std::size_t waits = 0;        ///< for a stream or the device; not those for an event
  std::size_t launches = 0;     ///< of kernels, also those that a graph captures
  std::size_t graph_launches = 0;
};
host_calls counted_calls();

/// Adds work to a stream. A kernel_error that it throws becomes the error of the device.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);
/// Adds a kernel to a stream; where it cannot be launched, cudaGetLastError says so.
void launch(dim3 blocks, dim3 threads, std::size_t dynamic_shared_bytes, cudaStream_t stream,
            std::function<void()> thread);
/// For work that is not a kernel: throws kernel_error unless the bytes lie in one allocation of device memory.
void require_allocated(const void* begin, std::size_t bytes, const char* what);

}  // namespace cuda_on_cpu
