// route, add_routed, add_routed_backward.
// Shapes: scores [B,n] -> rows, gate [B,m]; x [R,D] -> y [N,D].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>
#include <strata/backend/cuda/memory.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The effect of positions on a budget: left -> max(left + change, least). Two such maps in a row are again one.
struct budget_map {
  float change = 0, least = -INFINITY;
};

/// routing_budget on the device.
__device__ __forceinline__ index_type budget_of_positions(double capacity, index_type count) {
  return static_cast<index_type>(ceil(capacity * static_cast<double>(count)));
}

/// One warp per text, one lane per position. A score above 0 changes a budget, a whole number,
/// to max(left + raise - 1, 0).
template <class = void>
__global__ void route_kernel(double capacity, int dilation, index_type first, const float* __restrict__ scores,
                             index_type batch, index_type positions, float* __restrict__ budget, index_type most,
                             token* __restrict__ rows, float* __restrict__ gate) {
  const index_type b = row_of_warp();
  if (b >= batch) return;
  const int lane = lane_of_thread();
  index_type selected = b * most;
  for (int sequence = 0; sequence < dilation; ++sequence) {
    float left = budget[sequence * batch + b];
    const index_type length = (positions - sequence + dilation - 1) / dilation;
    for (index_type begin = 0; begin < length; begin += warp_size) {
      const index_type j = begin + lane, row = b * positions + sequence + j * dilation;
      const float score = j < length ? scores[row] : 0.f;
      const float raise = j < length ? static_cast<float>(budget_of_positions(capacity, first + j + 1) -
                                                          budget_of_positions(capacity, first + j))
                                     : 0.f;
      budget_map all;
      all.change = score > 0 ? raise - 1 : raise;
      if (score > 0) all.least = 0;
      STRATA_UNROLL
      for (int apart = 1; apart < warp_size; apart *= 2) {
        const float change = __shfl_up_sync(all_lanes, all.change, static_cast<unsigned>(apart));
        const float least = __shfl_up_sync(all_lanes, all.least, static_cast<unsigned>(apart));
        if (lane >= apart) {
          all.least = fmaxf(least + all.change, all.least);
          all.change += change;
        }
      }
      const float after = fmaxf(left + all.change, all.least);
      const float before = __shfl_up_sync(all_lanes, after, 1u);
      const bool selects = score > 0 && (lane == 0 ? left : before) + raise >= 1;
      const unsigned chosen = __ballot_sync(all_lanes, selects);
      if (selects) {
        const index_type own = selected + __popc(chosen & ((1u << lane) - 1));
        rows[own] = static_cast<token>(row);
        gate[own] = tanhf(score);
      }
      selected += __popc(chosen);
      left = fminf(__shfl_sync(all_lanes, after, warp_size - 1), 16777216.f);  // a float counts no further
    }
    if (lane == 0) budget[sequence * batch + b] = left;
  }
  for (index_type own = selected + lane; own < (b + 1) * most; own += warp_size) {
    rows[own] = -1;
    gate[own] = 0;
  }
}

struct add_routed_fours {
  const token* rows;
  const float* gate;
  const float* x;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type r, index_type d) const {
    if (rows[r] < 0) return;
    float* const to = y + rows[r] * memory.columns;
    const float weight = gate[r];
    memory.store(to, d,
                 map_four([&](float before, float own) { return before + weight * own; }, memory.load(to, d),
                          memory.load(x + r * memory.columns, d)));
  }
};

/// One warp per row. dx may be x.
template <class = void>
__global__ void add_routed_backward_kernel(index_type count, fours memory, const token* __restrict__ rows,
                                           const float* __restrict__ gate, const float* x, const float* __restrict__ dy,
                                           float* dx, float* __restrict__ dscore) {
  const index_type r = row_of_warp(), dim = memory.columns;
  if (r >= count) return;
  const int lane = lane_of_thread();
  const index_type row = rows[r];
  const float weight = gate[r];
  float dgate = 0;
  for (index_type d = 4 * lane; d < dim; d += 4 * warp_size) {
    const float4 slope = row < 0 ? make_float4(0, 0, 0, 0) : memory.load(dy + row * dim, d);
    const float4 products =
        map_four([](float own, float upper) { return own * upper; }, memory.load(x + r * dim, d), slope);
    dgate += products.x + products.y + products.z + products.w;
    memory.store(dx + r * dim, d, map_four([&](float upper) { return weight * upper; }, slope));
  }
  dgate = warp_sum(dgate);
  if (lane == 0 && row >= 0) dscore[row] = (1 - weight * weight) * dgate;
}

}  // namespace device

inline void route(cuda& backend, double capacity, int dilation, index_type first, input<float, 2> scores,
                  output<float, 2> budget, view<token, 2> rows, output<float, 2> gate) {
  const auto [batch, most] = rows.shape;
  device::launch_warps(backend, batch, device::route_kernel<>, capacity, dilation, first, scores.data, batch,
                       scores.shape[1], budget.data, most, rows.data, gate.data);
}

inline void add_routed(cuda& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                       output<float, 2> y) {
  const device::fours memory(x.shape[1], {}, {x.data, y.data});
  device::for_each_four_in_rows(backend, x.shape[0], x.shape[1],
                                device::add_routed_fours{rows.data, gate.data, x.data, y.data, memory});
}

inline void add_routed_backward(cuda& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                                input<float, 2> dy, output<float, 2> dx, output<float, 1> dscore) {
  fill(backend, 0.f, dscore);
  device::launch_warps(backend, x.shape[0], device::add_routed_backward_kernel<>, x.shape[0],
                       device::fours(x.shape[1], {}, {x.data, dy.data, dx.data}), rows.data, gate.data, x.data, dy.data,
                       dx.data, dscore.data);
}

}  // namespace strata
