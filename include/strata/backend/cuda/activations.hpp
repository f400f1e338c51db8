// gelu, silu and their gradients.
// Shapes: [N] in, [N] out; the result may be an input.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The probability that a standard normal number is below x.
__device__ __forceinline__ float normal_cumulative(float x) { return 0.5f * (1 + erff(x * 0.70710678f)); }
__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

struct gelu_of {
  __device__ __forceinline__ float operator()(float x) const { return x * normal_cumulative(x); }
};
struct gelu_gradient {
  __device__ __forceinline__ float operator()(float x, float dy) const {
    const float density = 0.39894228f * expf(-0.5f * x * x);
    return dy * (normal_cumulative(x) + x * density);
  }
};
struct silu_of {
  __device__ __forceinline__ float operator()(float x) const { return x * sigmoid(x); }
};
struct silu_gradient {
  __device__ __forceinline__ float operator()(float x, float dy) const {
    const float share = sigmoid(x);
    return dy * share * (1 + x * (1 - share));
  }
};

}  // namespace device

inline void gelu(cuda& backend, input<float, 1> x, output<float, 1> y) {
  device::transform(backend, y.size(), thrust::make_zip_iterator(x.data), y.data, device::gelu_of{});
}
inline void gelu_backward(cuda& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  device::transform(backend, dx.size(), thrust::make_zip_iterator(x.data, dy.data), dx.data, device::gelu_gradient{});
}
inline void silu(cuda& backend, input<float, 1> x, output<float, 1> y) {
  device::transform(backend, y.size(), thrust::make_zip_iterator(x.data), y.data, device::silu_of{});
}
inline void silu_backward(cuda& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  device::transform(backend, dx.size(), thrust::make_zip_iterator(x.data, dy.data), dx.data, device::silu_gradient{});
}

}  // namespace strata
