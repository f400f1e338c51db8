// rms_norm, layer_norm over the token-shifted input, and their gradients: both are one kernel, with and without a mean.
// Shapes: x [B,n,D] -> y [B,n,D]; factor, mean [B n].
// Source: backend/backend.hpp.
#pragma once

#include <initializer_list>

#include <strata/backend/cuda/loops.hpp>

namespace strata {
namespace device {

/// Where the elements of one row of token_shift(x) lie in x; -1 for the zeros before the start.
struct shifted_row {
  index own, earlier, kept;
  __device__ __forceinline__ index operator()(index d) const {
    return d < kept ? own + d : earlier < 0 ? -1 : earlier + d;
  }
};
struct token_shift {
  index length, dim, shift, kept;
  token_shift(const std::array<index, 3>& shape, int by)
      : length(shape[1]), dim(shape[2]), shift(by), kept(by == 0 ? dim : (dim + 1) / 2) {}
  fours memory(std::initializer_list<const float*> arrays) const { return {dim, {kept}, arrays}; }
  __device__ __forceinline__ shifted_row row(index r) const {
    return {r * dim, shift == 0 || r % length < shift ? -1 : (r - shift) * dim, kept};
  }
};

/// One warp a row. Without a mean, bias and mean are not used.
template <bool Centred, int Held>
__global__ void norm_kernel(index rows, token_shift shape, fours memory, const float* __restrict__ x,
                            const float* __restrict__ gain, const float* __restrict__ bias, float* __restrict__ y,
                            float* __restrict__ factor, float* __restrict__ mean) {
  const index r = row_of_warp();
  if (r >= rows) return;
  const index dim = shape.dim;
  const float width = static_cast<float>(dim);
  const shifted_row place = shape.row(r);
  const auto load = [&](index d) { return memory.load_from(x, d, place); };
  row_of_lane<float4, Held> row;
  row.read(dim, load);
  float m = 0, squares = 0;
  if constexpr (Centred) {
    row.for_each(dim, load, [&](index d, float4 own) { m += memory.sum(d, own); });
    m = warp_sum(m) / width;
  }
  row.for_each(dim, load, [&](index d, float4 own) {
    squares += memory.sum(d, map_four([&](float value) { return (value - m) * (value - m); }, own));
  });
  squares = warp_sum(squares);
  const float f = Centred ? 1 / sqrtf(squares / width + 1e-5f) : sqrtf(width) / fmaxf(sqrtf(squares), 1e-12f);
  row.for_each(dim, load, [&](index d, float4 own) {
    float4 normed = map_four([&](float value, float g) { return (value - m) * f * g; }, own, memory.load(gain, d));
    if constexpr (Centred)
      normed = map_four([](float value, float b) { return value + b; }, normed, memory.load(bias, d));
    memory.store(y + r * dim, d, normed);
  });
  if (lane_of_thread() != 0) return;
  factor[r] = f;
  if constexpr (Centred) mean[r] = m;
}

/// dx of one row a warp. No two rows of token_shift(x) show the same element, so they add to dx at the same time.
template <bool Centred, int Held>
__global__ void norm_backward_kernel(index rows, token_shift shape, fours memory, const float* __restrict__ x,
                                     const float* __restrict__ gain, const float* __restrict__ factor,
                                     const float* __restrict__ mean, const float* __restrict__ dy,
                                     float* __restrict__ dx) {
  const index r = row_of_warp();
  if (r >= rows) return;
  const index dim = shape.dim;
  const float width = static_cast<float>(dim), f = factor[r], m = Centred ? mean[r] : 0.f;
  const shifted_row place = shape.row(r);
  // The normed input and the gradient of it; past the last column the latter is 0.
  const auto load = [&](index d) {
    return two_fours{
        map_four([&](float value) { return (value - m) * f; }, memory.load_from(x, d, place)),
        map_four([](float upper, float g) { return upper * g; }, memory.load(dy + r * dim, d), memory.load(gain, d))};
  };
  row_of_lane<two_fours, Held> row;
  row.read(dim, load);
  float pull = 0, push = 0;
  row.for_each(dim, load, [&](index d, const two_fours& own) {
    pull += memory.sum(d, map_four([](float normed, float upper) { return normed * upper; }, own.x, own.y));
    if constexpr (Centred) push += memory.sum(d, own.y);
  });
  pull = warp_sum(pull) / width;
  if constexpr (Centred) push = warp_sum(push) / width;
  row.for_each(dim, load, [&](index d, const two_fours& own) {
    const auto change = [&](float before, float normed, float upper) {
      return before + f * (upper - push - normed * pull);
    };
    memory.store_to(dx, d, place, map_four(change, memory.load_from(dx, d, place), own.x, own.y));
  });
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
    const index place = shape.row(r)(d);
    return make_float2(upper * ((place < 0 ? 0.f : x[place]) - m) * factor[r], upper);
  }
};

template <bool Centred>
void norm(cuda& backend, const view<const float, 3>& x, const float* gain, const float* bias, int shift, float* y,
          float* factor, float* mean) {
  const index rows = x.shape[0] * x.shape[1];
  const token_shift shape(x.shape, shift);
  with_held_parts(shape.dim, [&](auto held) {
    launch_warps(backend, rows, norm_kernel<Centred, held()>, rows, shape, shape.memory({x.data, gain, bias, y}),
                 x.data, gain, bias, y, factor, mean);
  });
}
template <bool Centred>
void norm_backward(cuda& backend, const view<const float, 3>& x, const float* gain, int shift, const float* factor,
                   const float* mean, const float* dy, float* dx, float* dgain, float* dbias) {
  const token_shift shape(x.shape, shift);
  const index rows = x.shape[0] * x.shape[1];
  with_held_parts(shape.dim, [&](auto held) {
    launch_warps(backend, rows, norm_backward_kernel<Centred, held()>, rows, shape,
                 shape.memory({x.data, gain, dy, dx}), x.data, gain, factor, mean, dy, dx);
  });
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
