// gelu, silu and their gradients.
// Shapes: [N] in, [N] out; the result may be an input.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata {
namespace device {

/// How likely a normal number is below x, and 1 / (1 + exp(-x)).
__device__ __forceinline__ float normal_cumulative(float x) { return 0.5f * (1 + erff(x * 0.70710678f)); }
__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }

struct gelu_element {
  const float* x;
  float* y;
  __device__ __forceinline__ void operator()(index n) const { y[n] = x[n] * normal_cumulative(x[n]); }
};
struct gelu_backward_element {
  const float* x;
  const float* dy;
  float* dx;
  __device__ __forceinline__ void operator()(index n) const {
    const float density = 0.39894228f * expf(-0.5f * x[n] * x[n]);
    dx[n] = dy[n] * (normal_cumulative(x[n]) + x[n] * density);
  }
};
struct silu_element {
  const float* x;
  float* y;
  __device__ __forceinline__ void operator()(index n) const { y[n] = x[n] * sigmoid(x[n]); }
};
struct silu_backward_element {
  const float* x;
  const float* dy;
  float* dx;
  __device__ __forceinline__ void operator()(index n) const {
    const float share = sigmoid(x[n]);
    dx[n] = dy[n] * share * (1 + x[n] * (1 - share));
  }
};

}  // namespace device

inline void gelu(cuda& backend, input<float, 1> x, output<float, 1> y) {
  device::for_each_element(backend, y.size(), device::gelu_element{x.data, y.data});
}
inline void gelu_backward(cuda& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  device::for_each_element(backend, dx.size(), device::gelu_backward_element{x.data, dy.data, dx.data});
}
inline void silu(cuda& backend, input<float, 1> x, output<float, 1> y) {
  device::for_each_element(backend, y.size(), device::silu_element{x.data, y.data});
}
inline void silu_backward(cuda& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  device::for_each_element(backend, dx.size(), device::silu_backward_element{x.data, dy.data, dx.data});
}

}  // namespace strata
