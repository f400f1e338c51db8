// add_previous, its gradient and its step.
// Shapes: x [B,n,D], share [D] -> y [B,n,D].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

struct add_previous_fours {
  index_type length, shift;
  const float* x;
  const float* share;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    float4 own = memory.load(x + row * memory.columns, d);
    if (row % length >= shift)
      own = map_four([](float now, float part, float before) { return now + part * before; }, own,
                     memory.load(share, d), memory.load(x + (row - shift) * memory.columns, d));
    memory.store(y + row * memory.columns, d, own);
  }
};

/// dx, and what each position adds to dshare.
struct add_previous_backward_fours {
  index_type length, shift;
  const float* x;
  const float* share;
  const float* dy;
  float* dx;
  fours memory;
  __device__ __forceinline__ two_fours operator()(index_type row, index_type d) const {
    const index_type dim = memory.columns;
    const float4 none = make_float4(0, 0, 0, 0);
    const float4 later = row % length + shift < length ? memory.load(dy + (row + shift) * dim, d) : none;
    const float4 own = memory.load(x + row * dim, d);
    memory.store(dx + row * dim, d,
                 map_four([](float now, float part, float next) { return now + part * next; },
                          memory.load(dy + row * dim, d), memory.load(share, d), later));
    return {map_four([](float a, float b) { return a * b; }, later, own), none};
  }
};

struct add_previous_step_fours {
  const float* x;
  const float* share;
  float* previous;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type b, index_type d) const {
    const index_type at = b * memory.columns;
    const float4 now = memory.load(x + at, d);
    memory.store(y + at, d,
                 map_four([](float own, float part, float before) { return own + part * before; }, now,
                          memory.load(share, d), memory.load(previous + at, d)));
    memory.store(previous + at, d, now);
  }
};

}  // namespace device

inline void add_previous(cuda& backend, input<float, 3> x, input<float, 1> share, int shift, output<float, 3> y) {
  const auto [batch, length, dim] = x.shape;
  device::for_each_four_in_rows(backend, batch * length, dim,
                                device::add_previous_fours{length, shift, x.data, share.data, y.data,
                                                           device::fours(dim, {}, {x.data, share.data, y.data})});
}
inline void add_previous_backward(cuda& backend, input<float, 3> x, input<float, 1> share, int shift,
                                  input<float, 3> dy, output<float, 3> dx, output<float, 1> dshare) {
  const auto [batch, length, dim] = x.shape;
  device::add_column_sums(
      backend, batch * length, dim,
      device::add_previous_backward_fours{length, shift, x.data, share.data, dy.data, dx.data,
                                          device::fours(dim, {}, {x.data, share.data, dy.data, dx.data})},
      dshare.data, nullptr);
}
inline void add_previous_step(cuda& backend, input<float, 2> x, input<float, 1> share, output<float, 2> previous,
                              output<float, 2> y) {
  device::for_each_four_in_rows(
      backend, x.shape[0], x.shape[1],
      device::add_previous_step_fours{x.data, share.data, previous.data, y.data,
                                      device::fours(x.shape[1], {}, {x.data, share.data, previous.data, y.data})});
}

}  // namespace strata
