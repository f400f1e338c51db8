// Loops that operations share: over elements, over rows with one warp each, and sums over the rows of a matrix.
// Shapes: [N]; [R,C].
#pragma once

#include <algorithm>
#include <cstdint>
#include <cuda/functional>
#include <initializer_list>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/zip_iterator.h>
#include <thrust/system_error.h>
#include <thrust/transform.h>
#include <thrust/zip_function.h>
#include <utility>

#include <strata/backend/cuda/context.hpp>

namespace strata::inline STRATA_ABI::device {

inline constexpr unsigned threads_of_warps = 128;
/// Blocks of matrix loops have 8 warps, one per row.
inline constexpr int rows_a_block = 8;

/// Runs a Thrust algorithm over `count` elements after all earlier launches. It must neither allocate nor wait:
/// elementwise algorithms qualify; algorithms that reduce, sort or return a number do not.
template <class Algorithm>
void launch_thrust(cuda& backend, index_type count, const Algorithm& algorithm, const call_site& at) {
  constexpr const char* call = "launching a Thrust algorithm";
  if (count == 0) return;
  try {
    with_thrust(backend.stream(), algorithm);
  } catch (const thrust::system_error& error) {
    check(static_cast<cudaError_t>(error.code().value()), call, at);
  }
  check(cudaGetLastError(), call, at);
}

/// action(n) for every n below `count`.
template <class Action>
void for_each_element(cuda& backend, index_type count, const Action& action,
                      const call_site& at = call_site::current()) {
  launch_thrust(
      backend, count,
      [=](const auto& policy) { thrust::for_each_n(policy, thrust::counting_iterator<index_type>(0), count, action); },
      at);
}
template <class Action>
struct every_fourth {
  Action action;
  __device__ __forceinline__ void operator()(index_type n) const { action(4 * n); }
};
/// action(n) for every fourth n below `count`.
template <class Action>
void for_each_four(cuda& backend, index_type count, const Action& action, const call_site& at = call_site::current()) {
  for_each_element(backend, (count + 3) / 4, every_fourth<Action>{action}, at);
}
/// to[n] = map(from[n]) for every n below `count`. `from` is a thrust::make_zip_iterator of arrays; `to` may be one of
/// them. Addresses are declared not to matter, so Thrust copies arrays in bulk where a device can.
template <class... From, class Map>
void transform(cuda& backend, index_type count, const thrust::zip_iterator<thrust::tuple<From...>>& from, float* to,
               const Map& map, const call_site& at = call_site::current()) {
  launch_thrust(
      backend, count,
      [=](const auto& policy) {
        thrust::transform(policy, from, from + count, to,
                          thrust::make_zip_function(::cuda::proclaim_copyable_arguments(map)));
      },
      at);
}

/// action(row, column) for every element of a matrix. A thread has several columns of one row, so values that depend on
/// the row alone are computed once.
inline constexpr int columns_a_thread = 4;
template <class Action>
__global__ void for_each_in_rows_kernel(index_type rows, index_type columns, Action action) {
  const index_type row = static_cast<index_type>(blockIdx.x) * rows_a_block + threadIdx.y;
  const index_type first = static_cast<index_type>(blockIdx.y) * (columns_a_thread * warp_size) + threadIdx.x;
  if (row >= rows) return;
  STRATA_UNROLL
  for (int part = 0; part < columns_a_thread; ++part) {
    const index_type column = first + part * warp_size;
    if (column < columns) action(row, column);
  }
}
template <class Action>
void for_each_in_rows(cuda& backend, index_type rows, index_type columns, const Action& action,
                      const call_site& at = call_site::current()) {
  launch(backend,
         {.blocks = dim3(blocks_for(rows, rows_a_block), blocks_for(columns, columns_a_thread * warp_size)),
          .threads = dim3(warp_size, rows_a_block),
          .at = at},
         for_each_in_rows_kernel<Action>, rows, columns, action);
}

/// Access to rows, four neighbouring columns at a time: 16 bytes at once if all addresses allow it, else one by one. A
/// lane has the same columns either way, so sums do not depend on alignment. Columns past the last one read as `past`
/// and are not written.
struct fours {
  index_type columns;
  bool wide;

  /// `distances`: from row to row, and offsets of first columns. Arrays may be null.
  fours(index_type columns_of_rows, std::initializer_list<index_type> distances,
        std::initializer_list<const float*> arrays)
      : columns(columns_of_rows), wide(columns_of_rows % 4 == 0) {
    for (const index_type distance : distances) wide = wide && distance % 4 == 0;
    for (const float* array : arrays) wide = wide && reinterpret_cast<std::uintptr_t>(array) % sizeof(float4) == 0;
  }

  /// x[offset(column)] and the next three columns. Offset -1 reads as 0. If wide, the four are neighbours, or all 0.
  template <class Offset>
  __device__ __forceinline__ float4 load_from(const float* x, index_type column, Offset offset, float past = 0) const {
    const auto at = [&](index_type c) { return c >= columns ? past : offset(c) < 0 ? 0.f : x[offset(c)]; };
    if (!wide) return make_float4(at(column), at(column + 1), at(column + 2), at(column + 3));
    const index_type first = offset(column);
    return first < 0 ? make_float4(0, 0, 0, 0) : four_at(x + first);
  }
  template <class Offset>
  __device__ __forceinline__ void store_to(float* y, index_type column, Offset offset, float4 value) const {
    const auto at = [&](index_type c, float own) {
      if (c < columns && offset(c) >= 0) y[offset(c)] = own;
    };
    if (wide) {
      if (offset(column) >= 0) four_at(y + offset(column)) = value;
      return;
    }
    at(column, value.x), at(column + 1, value.y), at(column + 2, value.z), at(column + 3, value.w);
  }
  __device__ __forceinline__ float4 load(const float* row, index_type column, float past = 0) const {
    return load_from(
        row, column, [](index_type c) { return c; }, past);
  }
  __device__ __forceinline__ void store(float* row, index_type column, float4 value) const {
    store_to(
        row, column, [](index_type c) { return c; }, value);
  }
  __device__ __forceinline__ void put(float* row, index_type column, float4 value, bool add) const;

  /// The sum of four columns, without those past the last one.
  __device__ __forceinline__ float sum(index_type column, float4 x) const {
    return x.x + (column + 1 < columns ? x.y : 0.f) + (column + 2 < columns ? x.z : 0.f) +
           (column + 3 < columns ? x.w : 0.f);
  }
};
template <class Map, class... Fours>
__device__ __forceinline__ float4 map_four(Map map, const Fours&... x) {
  return make_float4(map(x.x...), map(x.y...), map(x.z...), map(x.w...));
}

__device__ __forceinline__ float4 sum_of_fours(const float4& x, const float4& y) {
  return map_four([](float a, float b) { return a + b; }, x, y);
}
struct two_fours {
  float4 x, y;
};
__device__ __forceinline__ void add_fours(two_fours& sum, const two_fours& own) {
  sum.x = sum_of_fours(sum.x, own.x);
  sum.y = sum_of_fours(sum.y, own.y);
}
/// row = or += value.
__device__ __forceinline__ void fours::put(float* row, index_type column, float4 value, bool add) const {
  store(row, column, add ? sum_of_fours(load(row, column), value) : value);
}

/// action(row, column) for every fourth column of a matrix.
template <class Action>
__global__ void for_each_four_in_rows_kernel(index_type rows, index_type columns, Action action) {
  const index_type row = static_cast<index_type>(blockIdx.x) * rows_a_block + threadIdx.y;
  const index_type column = 4 * (static_cast<index_type>(blockIdx.y) * warp_size + threadIdx.x);
  if (row < rows && column < columns) action(row, column);
}
template <class Action>
void for_each_four_in_rows(cuda& backend, index_type rows, index_type columns, const Action& action,
                           const call_site& at = call_site::current()) {
  launch(backend,
         {.blocks = dim3(blocks_for(rows, rows_a_block), blocks_for(columns, 4 * warp_size)),
          .threads = dim3(warp_size, rows_a_block),
          .at = at},
         for_each_four_in_rows_kernel<Action>, rows, columns, action);
}

/// Launches one warp per row. Warps past the last row must return.
template <class... Parameters, class... Arguments>
void launch_warps(cuda& backend, const called_with<index_type>& rows, void (*kernel)(Parameters...),
                  Arguments&&... arguments) {
  launch(backend,
         {.blocks = blocks_for(rows.value, threads_of_warps / warp_size), .threads = threads_of_warps, .at = rows.at},
         kernel, std::forward<Arguments>(arguments)...);
}
__device__ __forceinline__ index_type row_of_warp() {
  return static_cast<index_type>(blockIdx.x) * (threads_of_warps / warp_size) + threadIdx.x / warp_size;
}
__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % warp_size; }
/// A lane's columns of a row, in parts of four. The first `Held` parts are read once and stay in registers; the others
/// are read each time.
template <class Part, int Held>
struct row_of_lane {
  Part parts[Held] = {};

  __device__ __forceinline__ static index_type column(int part) { return 4 * (lane_of_thread() + part * warp_size); }
  template <class Load>
  __device__ __forceinline__ void read(index_type columns, Load load) {
    STRATA_UNROLL
    for (int part = 0; part < Held; ++part)
      if (column(part) < columns) parts[part] = load(column(part));
  }
  /// action(column, part) for each part.
  template <class Load, class Action>
  __device__ __forceinline__ void for_each(index_type columns, Load load, Action action) const {
    STRATA_UNROLL
    for (int part = 0; part < Held; ++part)
      if (column(part) < columns) action(column(part), parts[part]);
    for (index_type c = column(Held); c < columns; c += 4 * warp_size) action(c, load(c));
  }
};
/// action(held), a constant: rows of up to 256 or 512 columns leave registers for more warps; rows of up to 1024
/// columns are still read once.
template <class Action>
void with_held_parts(index_type columns, Action action) {
  if (columns <= 2 * 4 * warp_size) return action(std::integral_constant<int, 2>{});
  if (columns <= 4 * 4 * warp_size) return action(std::integral_constant<int, 4>{});
  action(std::integral_constant<int, 8>{});
}

/// The distance between the rows of one warp, if the grid has fewer warps than rows.
__device__ __forceinline__ index_type warps_of_grid() {
  return static_cast<index_type>(gridDim.x) * (threads_of_warps / warp_size);
}

/// Sums in double: each block leaves a partial sum, and one block adds them, always in the same order. More blocks
/// would only make the last sum longer.
inline constexpr index_type most_partial_sums = 1024;
constexpr index_type blocks_of_sums(index_type count, index_type per_block) {
  return std::min(most_partial_sums, (count + per_block - 1) / per_block);
}
/// Scratch memory for `count` doubles.
inline double* double_scratch(cuda& backend, index_type count) {
  static_assert(sizeof(double) == 2 * sizeof(float));
  return reinterpret_cast<double*>(backend.scratch(2 * count));
}
/// partial[blocks] = the sum over each block's threads.
template <int Threads>
__device__ __forceinline__ void keep_partial(double own, double* partial) {
  STRATA_SHARED(slots, double[Threads / warp_size]);
  const double total = block_sum<Threads>(own, slots);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

/// result[1] = or += the sum of partial[count] over `divisor`, or over counted[1] if given; 0 if the divisor is 0.
template <int Threads>
__global__ void total_kernel(const double* partial, index_type count, const double* counted, double divisor,
                             float* result, bool add) {
  STRATA_SHARED(slots, double[Threads / warp_size]);
  double sum = 0;
  for (index_type n = threadIdx.x; n < count; n += Threads) sum += partial[n];
  const double total = block_sum<Threads>(sum, slots);
  if (threadIdx.x != 0) return;
  if (counted != nullptr) divisor = counted[0];
  const float own = divisor > 0 ? static_cast<float>(total / divisor) : 0.f;
  result[0] = add ? result[0] + own : own;
}
inline constexpr int threads_of_totals = 512;
inline void total_of_partials(cuda& backend, const double* partial, index_type count, const double* counted,
                              double divisor, float* result, update mode, const call_site& at = call_site::current()) {
  launch(backend, {.blocks = 1, .threads = threads_of_totals, .at = at}, total_kernel<threads_of_totals>, partial,
         count, counted, divisor, result, mode == update::add);
}

/// A block that sums columns has 32 columns and 32 rows at once.
inline constexpr int fours_a_block = 8, rows_at_once = 32;

/// first[C], second[C] = or += sums over the rows of a group; terms(row, column) returns two_fours for every fourth
/// column. The sums of the next group lie `apart` further. `second` may be null.
template <class Terms>
__global__ void column_sums_kernel(index_type rows, index_type columns, index_type rows_a_group, Terms terms,
                                   float* first, float* second, index_type apart, bool add) {
  constexpr int columns_a_block = 4 * fours_a_block;
  STRATA_SHARED(sums, float4[2][rows_at_once][fours_a_block]);
  const index_type first_column = static_cast<index_type>(blockIdx.x) * columns_a_block,
                   column = first_column + 4 * threadIdx.x;
  const index_type begin = static_cast<index_type>(blockIdx.y) * rows_a_group, end = min(begin + rows_a_group, rows);
  two_fours sum{};
  if (column < columns)
    for (index_type row = begin + threadIdx.y; row < end; row += rows_at_once) add_fours(sum, terms(row, column));
  sums[0][threadIdx.y][threadIdx.x] = sum.x;
  sums[1][threadIdx.y][threadIdx.x] = sum.y;
  __syncthreads();
  // One warp sums `first`, another `second`.
  const int thread = static_cast<int>(threadIdx.y) * fours_a_block + static_cast<int>(threadIdx.x);
  const int which = thread / columns_a_block, own = thread % columns_a_block;
  if (which > 1 || first_column + own >= columns) return;
  float* const result = which == 0 ? first : second;
  if (result == nullptr) return;
  float total = 0;
  for (int row = 0; row < rows_at_once; ++row) total += reinterpret_cast<const float*>(sums[which][row])[own];
  const index_type target = static_cast<index_type>(blockIdx.y) * apart + first_column + own;
  result[target] = add ? result[target] + total : total;
}
template <class Terms>
void sum_columns(cuda& backend, index_type rows, index_type columns, index_type rows_a_group, const Terms& terms,
                 float* first, float* second, index_type apart, bool add, const call_site& at) {
  launch(backend,
         {.blocks = dim3(blocks_for(columns, 4 * fours_a_block), blocks_for(rows, rows_a_group)),
          .threads = dim3(fours_a_block, rows_at_once),
          .at = at},
         column_sums_kernel<Terms>, rows, columns, rows_a_group, terms, first, second, apart, add);
}

/// Sums of groups: partial[groups,2,C]; the second exists only with `two`.
struct partial_sums {
  const float* partial;
  bool two;
  fours memory;
  __device__ __forceinline__ two_fours operator()(index_type group, index_type column) const {
    const float* const own = partial + 2 * group * memory.columns;
    two_fours sums{};
    sums.x = memory.load(own, column);
    if (two) sums.y = memory.load(own + memory.columns, column);
    return sums;
  }
};
/// first[C], second[C] += the sums of partial[groups,2,C] over the groups. `second` may be null.
inline void add_partial_sums(cuda& backend, const float* partial, index_type groups, index_type columns, float* first,
                             float* second, const call_site& at = call_site::current()) {
  sum_columns(backend, groups, columns, groups, partial_sums{partial, second != nullptr, fours(columns, {}, {partial})},
              first, second, 0, true, at);
}

/// first[C], second[C] += sums over R rows; terms(row, column) returns two_fours for every fourth column, and is called
/// once for each. `second` may be null.
template <class Terms>
void add_column_sums(cuda& backend, index_type rows, index_type columns, const Terms& terms, float* first,
                     float* second, const call_site& at = call_site::current()) {
  constexpr index_type least_rows_a_group = 4 * rows_at_once, most_groups = 256;
  if (rows == 0) return;
  const index_type rows_a_group = std::max(least_rows_a_group, (rows + most_groups - 1) / most_groups);
  const index_type groups = (rows + rows_a_group - 1) / rows_a_group;
  if (groups == 1) return sum_columns(backend, rows, columns, rows, terms, first, second, 0, true, at);
  float* const partial = backend.scratch(2 * groups * columns);
  sum_columns(backend, rows, columns, rows_a_group, terms, partial, second == nullptr ? nullptr : partial + columns,
              2 * columns, false, at);
  add_partial_sums(backend, partial, groups, columns, first, second, at);
}

}  // namespace strata::device
