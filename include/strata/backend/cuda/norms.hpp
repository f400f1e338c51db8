// rms_norm and layer_norm of the token-shifted input, and their gradients: one kernel, without and with a mean.
// Shapes: x [B,n,D] -> y [B,n,D]; factor, mean [B n].
// Source: backend/backend.hpp.
#pragma once

#include <initializer_list>

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// Offsets in x of one row of token_shift(x); -1 for the zeros before the sequence.
struct shifted_row {
  index_type own, earlier, kept;
  __device__ __forceinline__ index_type operator()(index_type d) const {
    return d < kept ? own + d : earlier < 0 ? -1 : earlier + d;
  }
};
struct token_shift {
  index_type length, dim, shift, kept;
  token_shift(const std::array<index_type, 3>& shape, int by)
      : length(shape[1]), dim(shape[2]), shift(by), kept(by == 0 ? dim : (dim + 1) / 2) {}
  fours memory(std::initializer_list<const float*> arrays) const { return {dim, {kept}, arrays}; }
  __device__ __forceinline__ shifted_row row(index_type r) const {
    return {r * dim, shift == 0 || r % length < shift ? -1 : (r - shift) * dim, kept};
  }
};

/// One warp per row. Bias and mean are used only if Centred.
template <bool Centred, int Held>
__global__ void norm_kernel(index_type rows, token_shift shape, fours memory, const float* __restrict__ x,
                            const float* __restrict__ gain, const float* __restrict__ bias, float* __restrict__ y,
                            float* __restrict__ factor, float* __restrict__ mean) {
  const index_type r = row_of_warp();
  if (r >= rows) return;
  const index_type dim = shape.dim;
  const float width = static_cast<float>(dim);
  const shifted_row offset = shape.row(r);
  const auto load = [&](index_type d) { return memory.load_from(x, d, offset); };
  row_of_lane<float4, Held> row;
  row.read(dim, load);
  float m = 0, squares = 0;
  if constexpr (Centred) {
    row.for_each(dim, load, [&](index_type d, float4 own) { m += memory.sum(d, own); });
    m = warp_sum(m) / width;
  }
  row.for_each(dim, load, [&](index_type d, float4 own) {
    squares += memory.sum(d, map_four([&](float value) { return (value - m) * (value - m); }, own));
  });
  squares = warp_sum(squares);
  const float f = Centred ? 1 / sqrtf(squares / width + 1e-5f) : sqrtf(width) / fmaxf(sqrtf(squares), 1e-12f);
  row.for_each(dim, load, [&](index_type d, float4 own) {
    float4 normed = map_four([&](float value, float g) { return (value - m) * f * g; }, own, memory.load(gain, d));
    if constexpr (Centred)
      normed = map_four([](float value, float b) { return value + b; }, normed, memory.load(bias, d));
    memory.store(y + r * dim, d, normed);
  });
  if (lane_of_thread() != 0) return;
  factor[r] = f;
  if constexpr (Centred) mean[r] = m;
}

/// What one element adds to dgain and to dbias.
__device__ __forceinline__ two_fours norm_terms(const two_fours& own) {
  return {map_four([](float normed, float slope) { return normed * slope; }, own.x, own.y), own.y};
}

/// dx, and partial[blocks,2,D]: each block's part of dgain and, if Centred, of dbias. A warp has several rows. No two
/// rows of token_shift(x) hold the same element, so rows may add to dx at the same time.
template <bool Centred, int Held>
__global__ void norm_backward_kernel(index_type rows, token_shift shape, fours memory, const float* __restrict__ x,
                                     const float* __restrict__ gain, const float* __restrict__ factor,
                                     const float* __restrict__ mean, const float* __restrict__ dy,
                                     float* __restrict__ dx, float* __restrict__ partial) {
  constexpr int warps = static_cast<int>(threads_of_warps) / warp_size;
  using own_row = row_of_lane<two_fours, Held>;
  STRATA_SHARED(parts, float4[warps][Held][warp_size]);
  const index_type dim = shape.dim;
  const float width = static_cast<float>(dim);
  // The normed input of row r and the gradient of its output, which is 0 past the last column.
  const auto load_of = [&](index_type r) {
    const shifted_row offset = shape.row(r);
    const float f = factor[r], m = Centred ? mean[r] : 0.f;
    return [=, &memory](index_type d) {
      return two_fours{map_four([=](float value) { return (value - m) * f; }, memory.load_from(x, d, offset)),
                       memory.load(dy + r * dim, d)};
    };
  };
  const auto upper_of = [&](index_type d, const two_fours& own) {
    return map_four([](float slope, float g) { return slope * g; }, own.y, memory.load(gain, d));
  };

  two_fours sums[Held] = {};
  for (index_type r = row_of_warp(); r < rows; r += warps_of_grid()) {
    const auto load = load_of(r);
    own_row row;
    row.read(dim, load);
    float pull = 0, push = 0;
    row.for_each(dim, load, [&](index_type d, const two_fours& own) {
      const float4 upper = upper_of(d, own);
      pull += memory.sum(d, map_four([](float normed, float up) { return normed * up; }, own.x, upper));
      if constexpr (Centred) push += memory.sum(d, upper);
    });
    pull = warp_sum(pull) / width;
    if constexpr (Centred) push = warp_sum(push) / width;
    const float f = factor[r];
    const shifted_row offset = shape.row(r);
    row.for_each(dim, load, [&](index_type d, const two_fours& own) {
      const auto change = [&](float before, float normed, float up) {
        return before + f * (up - push - normed * pull);
      };
      memory.store_to(dx, d, offset, map_four(change, memory.load_from(dx, d, offset), own.x, upper_of(d, own)));
    });
    STRATA_UNROLL
    for (int part = 0; part < Held; ++part) add_fours(sums[part], norm_terms(row.parts[part]));
  }

  const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = lane_of_thread();
  float* const own_partial = partial + 2 * static_cast<index_type>(blockIdx.x) * dim;
  STRATA_UNROLL
  for (int which = 0; which < (Centred ? 2 : 1); ++which) {
    __syncthreads();  // other warps may still read parts
    STRATA_UNROLL
    for (int part = 0; part < Held; ++part) parts[warp][part][lane] = which == 0 ? sums[part].x : sums[part].y;
    __syncthreads();
    for (int part = warp; part < Held; part += warps) {
      float4 total = parts[0][part][lane];
      STRATA_UNROLL
      for (int other = 1; other < warps; ++other) total = sum_of_fours(total, parts[other][part][lane]);
      if (own_row::column(part) < dim) memory.store(own_partial + which * dim, own_row::column(part), total);
    }
  }
  // Columns that no lane holds: a warp sums some of them over all rows of the block.
  for (index_type d = own_row::column(Held + warp); d < dim; d += 4 * warp_size * warps) {
    two_fours sum{};
    for (index_type first = static_cast<index_type>(blockIdx.x) * warps; first < rows; first += warps_of_grid())
      for (index_type r = first; r < min(first + warps, rows); ++r) add_fours(sum, norm_terms(load_of(r)(d)));
    memory.store(own_partial, d, sum.x);
    if constexpr (Centred) memory.store(own_partial + dim, d, sum.y);
  }
}

template <bool Centred>
void norm(cuda& backend, const view<const float, 3>& x, const float* gain, const float* bias, int shift, float* y,
          float* factor, float* mean) {
  const index_type rows = x.shape[0] * x.shape[1];
  const token_shift shape(x.shape, shift);
  with_held_parts(shape.dim, [&](auto held) {
    launch_warps(backend, rows, norm_kernel<Centred, held()>, rows, shape, shape.memory({x.data, gain, bias, y}),
                 x.data, gain, bias, y, factor, mean);
  });
}
template <bool Centred>
void norm_backward(cuda& backend, const view<const float, 3>& x, const float* gain, int shift, const float* factor,
                   const float* mean, const float* dy, float* dx, float* dgain, float* dbias) {
  constexpr index_type most_blocks = 512;  // enough to fill a device; partial sums stay few
  const token_shift shape(x.shape, shift);
  const index_type rows = x.shape[0] * x.shape[1];
  if (rows == 0) return;
  const index_type blocks = std::min<index_type>(blocks_for(rows, threads_of_warps / warp_size), most_blocks);
  float* const partial = backend.scratch(2 * blocks * shape.dim);
  with_held_parts(shape.dim, [&](auto held) {
    launch(backend, {static_cast<unsigned>(blocks), threads_of_warps}, norm_backward_kernel<Centred, held()>, rows,
           shape, shape.memory({x.data, gain, dy, dx, partial}), x.data, gain, factor, mean, dy, dx, partial);
  });
  add_partial_sums(backend, partial, blocks, shape.dim, dgain, dbias);
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
