// embed, embed_backward.
// Shapes: ids [R], table [V,D] -> [R,D].
// Source: backend/backend.hpp. For each row of the table a block finds the ids that name it, and adds gradients in
// order.
#pragma once

#include <cstdint>

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

struct embed_fours {
  const token* ids;
  const float* table;
  float* y;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index_type r, index_type d) const {
    const index_type id = ids[r], dim = memory.columns;
    memory.put(y + r * dim, d, id < 0 ? make_float4(0, 0, 0, 0) : memory.load(table + id * dim, d), add);
  }
};

/// Each tile of rows keeps its smallest and largest id, so that most tiles are skipped if the table is large. Groups of
/// tiles are summed separately.
inline constexpr index_type rows_a_tile = 512, rows_a_group_of_tiles = 4 * rows_a_tile;

/// smallest, largest [tiles]: over the ids that are not negative; one warp per tile.
template <class = void>
__global__ void bound_ids_kernel(const token* __restrict__ ids, index_type rows, index_type tiles,
                                 token* __restrict__ smallest, token* __restrict__ largest) {
  const index_type tile = row_of_warp(), end = min((tile + 1) * rows_a_tile, rows);
  const int lane = lane_of_thread();
  if (tile >= tiles) return;
  token most = -1, least_negated = -INT32_MAX;
  for (index_type r = tile * rows_a_tile + lane; r < end; r += warp_size) {
    if (ids[r] < 0) continue;
    most = max(most, ids[r]);
    least_negated = max(least_negated, -ids[r]);
  }
  most = warp_max(most);
  least_negated = warp_max(least_negated);
  if (lane != 0) return;
  largest[tile] = most;
  smallest[tile] = -least_negated;
}

/// A block has one row of the table and one group of rows of dy; a lane has four columns at a time. Adds to sums[V,D],
/// or sets sums[groups,V,D].
template <class = void>
__global__ void embed_backward_kernel(const token* __restrict__ ids, const token* __restrict__ smallest,
                                      const token* __restrict__ largest, const float* __restrict__ dy, index_type rows,
                                      index_type rows_a_group, fours memory, float* __restrict__ sums, bool add) {
  const index_type id = blockIdx.x, begin = static_cast<index_type>(blockIdx.y) * rows_a_group;
  const index_type end = min(begin + rows_a_group, rows);
  const index_type dim = memory.columns;
  const int lane = lane_of_thread();
  // All lanes of a warp take part in every iteration, since they vote.
  for (index_type first = 4 * (static_cast<index_type>(threadIdx.x) - lane); first < dim;
       first += 4 * threads_of_warps) {
    const index_type d = first + 4 * lane;
    float4 sum = make_float4(0, 0, 0, 0);
    bool found = false;
    for (index_type tile = begin; tile < end; tile += rows_a_tile) {
      if (id < smallest[tile / rows_a_tile] || id > largest[tile / rows_a_tile]) continue;
      const index_type end_of_tile = min(tile + rows_a_tile, end);
      for (index_type r = tile; r < end_of_tile; r += warp_size) {
        unsigned named = __ballot_sync(all_lanes, r + lane < end_of_tile && ids[r + lane] == id);
        for (; named != 0; named &= named - 1) {  // the lowest bit first: in the order of the rows
          found = true;
          if (d < dim) sum = sum_of_fours(sum, memory.load(dy + (r + __popc(~named & (named - 1))) * dim, d));
        }
      }
    }
    if ((found || !add) && d < dim)
      memory.put(sums + (static_cast<index_type>(blockIdx.y) * gridDim.x + id) * dim, d, sum, add);
  }
}

/// y[N] += the sum of x[groups,N] over the groups, in order.
struct add_groups_fours {
  const float* x;
  index_type groups;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type n) const {
    float4 sum = make_float4(0, 0, 0, 0);
    for (index_type group = 0; group < groups; ++group)
      sum = sum_of_fours(sum, memory.load(x + group * memory.columns, n));
    memory.put(y, n, sum, true);
  }
};

}  // namespace device

inline void embed(cuda& backend, view<const token, 1> ids, input<float, 2> table, output<float, 2> y, update mode) {
  const device::fours memory(y.shape[1], {}, {table.data, y.data});
  device::for_each_four_in_rows(backend, y.shape[0], y.shape[1],
                                device::embed_fours{ids.data, table.data, y.data, mode == update::add, memory});
}

inline void embed_backward(cuda& backend, view<const token, 1> ids, input<float, 2> dy, output<float, 2> dtable) {
  using namespace device;
  constexpr index_type most_scratch = index_type{1} << 24;
  const auto [rows, dim] = dy.shape;
  if (rows == 0 || dtable.size() == 0) return;
  const index_type tiles = (rows + rows_a_tile - 1) / rows_a_tile;
  const index_type most_groups = std::clamp<index_type>(most_scratch / dtable.size(), 1, most_blocks_in_y);
  // Whole tiles, and no more groups than the scratch memory may hold.
  const index_type tiles_a_group =
      std::max(rows_a_group_of_tiles / rows_a_tile, (tiles + most_groups - 1) / most_groups);
  const index_type groups = (tiles + tiles_a_group - 1) / tiles_a_group;
  const index_type sums = groups == 1 ? 0 : groups * dtable.size();
  float* const partial = backend.scratch(sums + 2 * tiles);
  token* const smallest = reinterpret_cast<token*>(partial + sums);
  launch_warps(backend, tiles, bound_ids_kernel<>, ids.data, rows, tiles, smallest, smallest + tiles);
  launch(backend, {dim3(static_cast<unsigned>(dtable.shape[0]), static_cast<unsigned>(groups)), threads_of_warps},
         embed_backward_kernel<>, ids.data, smallest, smallest + tiles, dy.data, rows, tiles_a_group * rows_a_tile,
         fours(dim, {}, {dy.data, dtable.data, partial}), groups == 1 ? dtable.data : partial, groups == 1);
  if (groups > 1)
    for_each_four(backend, dtable.size(),
                  add_groups_fours{partial, groups, dtable.data, fours(dtable.size(), {}, {partial, dtable.data})});
}

}  // namespace strata
