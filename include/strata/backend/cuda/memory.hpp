// upload, upload_tokens, download, download_tokens, fill, copy, add, mix.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.
#pragma once

#include <thrust/fill.h>
#include <thrust/functional.h>

#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/loops.hpp>
#include <strata/backend/cuda/matrix_products.hpp>

namespace strata::inline STRATA_ABI {
/// Waits for the copy: the runtime may return before it has read pageable memory.
inline void upload(cuda& backend, input<float, 1> host, output<float, 1> device) {
  STRATA_CUDA(cudaMemcpyAsync(device.data, host.data, static_cast<std::size_t>(device.size()) * sizeof(float),
                              cudaMemcpyHostToDevice, backend.stream()));
  backend.synchronize();
}
inline void upload_tokens(cuda& backend, view<const token, 1> host, view<token, 1> device) {
  backend.uploads().upload(host.data, device.data, static_cast<std::size_t>(device.size()) * sizeof(token),
                           backend.stream());
}
/// Copies bytes of any type, for tests and tools. Waits for the copy.
inline void download_bytes(cuda& backend, const void* device, void* host, std::size_t bytes) {
  STRATA_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, backend.stream()));
  backend.synchronize();
}
inline void download(cuda& backend, input<float, 1> device, output<float, 1> host) {
  download_bytes(backend, device.data, host.data, static_cast<std::size_t>(host.size()) * sizeof(float));
}
inline void download_tokens(cuda& backend, view<const token, 1> device, view<token, 1> host) {
  download_bytes(backend, device.data, host.data, static_cast<std::size_t>(host.size()) * sizeof(token));
}

inline void fill(cuda& backend, float value, output<float, 1> y) {
  device::launch_thrust(
      backend, y.size(), [=](const auto& policy) { thrust::fill_n(policy, y.data, y.size(), value); },
      device::call_site::current());
}
inline void copy(cuda& backend, input<float, 1> x, output<float, 1> y) {
  STRATA_CUDA(cudaMemcpyAsync(y.data, x.data, static_cast<std::size_t>(y.size()) * sizeof(float),
                              cudaMemcpyDeviceToDevice, backend.stream()));
}
inline void add(cuda& backend, input<float, 1> x, output<float, 1> y) {
  device::transform(backend, y.size(), thrust::make_zip_iterator(y.data, x.data), y.data, thrust::plus<float>());
}
namespace device {

struct mixed_values {
  float keep;
  __device__ float operator()(float y, float x) const { return keep * y + (1 - keep) * x; }
};

}  // namespace device
inline void mix(cuda& backend, float keep, input<float, 1> x, output<float, 1> y) {
  device::transform(backend, y.size(), thrust::make_zip_iterator(y.data, x.data), y.data, device::mixed_values{keep});
}

}  // namespace strata
