// rms_norm, layer_norm over the token-shifted input, and their gradients: both are one kernel, with and without a mean.
// Shapes: x [B,n,D] -> y [B,n,D]; factor, mean [B n].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata {
namespace device {

/// Where the elements of one row of token_shift(x) lie in x; -1 for the zeros before the start.
struct shifted_row {
  index own, earlier, kept;
  __device__ __forceinline__ index place(index d) const { return d < kept ? own + d : earlier < 0 ? -1 : earlier + d; }
  __device__ __forceinline__ float operator()(const float* x, index d) const {
    const index at = place(d);
    return at < 0 ? 0.f : x[at];
  }
};
struct token_shift {
  index length, dim, shift, kept;
  token_shift(const std::array<index, 3>& shape, int by)
      : length(shape[1]), dim(shape[2]), shift(by), kept(by == 0 ? dim : (dim + 1) / 2) {}
  __device__ __forceinline__ shifted_row row(index r) const {
    return {r * dim, shift == 0 || r % length < shift ? -1 : (r - shift) * dim, kept};
  }
};

/// The sum of terms(d) over d, in every lane of a warp.
template <class Terms>
__device__ __forceinline__ float sum_of_row(index dim, Terms terms) {
  float sum = 0;
  for (index d = lane_of_thread(); d < dim; d += warp_size) sum += terms(d);
  return warp_sum(sum);
}

/// One warp a row. Without a mean, bias and mean are not used.
template <bool Centred>
__global__ void norm_kernel(index rows, token_shift shape, const float* __restrict__ x, const float* __restrict__ gain,
                            const float* __restrict__ bias, float* __restrict__ y, float* __restrict__ factor,
                            float* __restrict__ mean) {
  const index r = row_of_warp();
  if (r >= rows) return;
  const index dim = shape.dim;
  const float width = static_cast<float>(dim);
  const shifted_row row = shape.row(r);
  float m = 0;
  if constexpr (Centred) m = sum_of_row(dim, [&](index d) { return row(x, d); }) / width;
  const float squares = sum_of_row(dim, [&](index d) { return (row(x, d) - m) * (row(x, d) - m); });
  const float f = Centred ? 1 / sqrtf(squares / width + 1e-5f) : sqrtf(width) / fmaxf(sqrtf(squares), 1e-12f);
  const int lane = lane_of_thread();
  for (index d = lane; d < dim; d += warp_size) {
    const float normed = (row(x, d) - m) * f * gain[d];
    if constexpr (Centred)
      y[r * dim + d] = normed + bias[d];
    else
      y[r * dim + d] = normed;
  }
  if (lane != 0) return;
  factor[r] = f;
  if constexpr (Centred) mean[r] = m;
}

/// dx of one row a warp. No two rows of token_shift(x) show the same element, so they add to dx at the same time.
template <bool Centred>
__global__ void norm_backward_kernel(index rows, token_shift shape, const float* __restrict__ x,
                                     const float* __restrict__ gain, const float* __restrict__ factor,
                                     const float* __restrict__ mean, const float* __restrict__ dy,
                                     float* __restrict__ dx) {
  const index r = row_of_warp();
  if (r >= rows) return;
  const index dim = shape.dim;
  const float width = static_cast<float>(dim), f = factor[r], m = Centred ? mean[r] : 0.f;
  const shifted_row row = shape.row(r);
  const float* const upper = dy + r * dim;
  const float pull = sum_of_row(dim, [&](index d) { return upper[d] * gain[d] * (row(x, d) - m) * f; }) / width;
  float push = 0;
  if constexpr (Centred) push = sum_of_row(dim, [&](index d) { return upper[d] * gain[d]; }) / width;
  for (index d = lane_of_thread(); d < dim; d += warp_size) {
    const index place = row.place(d);
    if (place >= 0) dx[place] += f * (upper[d] * gain[d] - push - (x[place] - m) * f * pull);
  }
}

/// What each element adds to dgain and to dbias.
template <bool Centred>
struct norm_terms {
  token_shift shape;
  const float* x;
  const float* factor;
  const float* mean;
  const float* dy;
  __device__ __forceinline__ float2 operator()(index r, index d) const {
    const float upper = dy[r * shape.dim + d], m = Centred ? mean[r] : 0.f;
    return make_float2(upper * (shape.row(r)(x, d) - m) * factor[r], upper);
  }
};

template <bool Centred>
void norm(cuda& backend, const view<const float, 3>& x, const float* gain, const float* bias, int shift, float* y,
          float* factor, float* mean) {
  const index rows = x.shape[0] * x.shape[1];
  launch_warps(backend, rows, norm_kernel<Centred>, rows, token_shift(x.shape, shift), x.data, gain, bias, y, factor,
               mean);
}
template <bool Centred>
void norm_backward(cuda& backend, const view<const float, 3>& x, const float* gain, int shift, const float* factor,
                   const float* mean, const float* dy, float* dx, float* dgain, float* dbias) {
  const token_shift shape(x.shape, shift);
  const index rows = x.shape[0] * x.shape[1];
  launch_warps(backend, rows, norm_backward_kernel<Centred>, rows, shape, x.data, gain, factor, mean, dy, dx);
  add_column_sums(backend, rows, shape.dim, norm_terms<Centred>{shape, x.data, factor, mean, dy}, dgain, dbias);
}

}  // namespace device

inline void rms_norm(cuda& backend, input<float, 3> x, input<float, 1> gain, int shift, output<float, 3> y,
                     output<float, 1> factor) {
  device::norm<false>(backend, x, gain.data, nullptr, shift, y.data, factor.data, nullptr);
}
inline void rms_norm_backward(cuda& backend, input<float, 3> x, input<float, 1> gain, int shift, input<float, 1> factor,
                              input<float, 3> dy, output<float, 3> dx, output<float, 1> dgain) {
  device::norm_backward<false>(backend, x, gain.data, shift, factor.data, nullptr, dy.data, dx.data, dgain.data,
                               nullptr);
}
inline void layer_norm(cuda& backend, input<float, 3> x, input<float, 1> gain, input<float, 1> bias, int shift,
                       output<float, 3> y, output<float, 1> factor, output<float, 1> mean) {
  device::norm<true>(backend, x, gain.data, bias.data, shift, y.data, factor.data, mean.data);
}
inline void layer_norm_backward(cuda& backend, input<float, 3> x, input<float, 1> gain, int shift,
                                input<float, 1> factor, input<float, 1> mean, input<float, 3> dy, output<float, 3> dx,
                                output<float, 1> dgain, output<float, 1> dbias) {
  device::norm_backward<true>(backend, x, gain.data, shift, factor.data, mean.data, dy.data, dx.data, dgain.data,
                              dbias.data);
}

}  // namespace strata
