// What attention's kernels share: offsets and rotation of rows, the keys that a query sees, and the widths of kernels.
// Source: RoFormer, arXiv 2104.09864, for the rotation.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI::device {

/// Neighbouring lanes that share a row, without tensor cores. They exchange values inside their warp.
inline constexpr int row_lanes = 8;
/// A thread's lane within its row, and its group of row lanes within the block.
__device__ __forceinline__ int lane_of_row() { return static_cast<int>(threadIdx.x) % row_lanes; }
__device__ __forceinline__ int group_of_lanes() { return static_cast<int>(threadIdx.x) / row_lanes; }

/// The sum over the `Lanes` neighbouring lanes that share a row, in each of them.
template <int Lanes = row_lanes>
__device__ __forceinline__ float row_sum(float value) {
  STRATA_UNROLL
  for (int apart = Lanes / 2; apart > 0; apart /= 2) value += __shfl_xor_sync(all_lanes, value, apart);
  return value;
}
__device__ __forceinline__ float dot(const float4& x, const float4& y) {
  return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}
__device__ __forceinline__ float dot(const two_fours& x, const two_fours& y) { return dot(x.x, y.x) + dot(x.y, y.y); }

/// One lane's channels of a row: each part has column(part) and the next three. In narrow heads only the first lanes
/// have channels.
template <int Width>
struct lane_channels {
  static constexpr int parts = Width <= 4 * row_lanes ? 1 : Width / (4 * row_lanes);
  float4 values[parts] = {};

  __device__ __forceinline__ static int column(int part) { return 4 * (lane_of_row() + part * row_lanes); }
  /// Channels that the head does not have are 0.
  __device__ __forceinline__ static lane_channels load(const float* row, const fours& memory) {
    lane_channels own;
    STRATA_UNROLL
    for (int part = 0; part < parts; ++part)
      if (column(part) < memory.columns) own.values[part] = memory.load(row, column(part));
    return own;
  }
  /// Of this lane's channels; row_sum completes it.
  __device__ __forceinline__ float dot(const lane_channels& other) const {
    float sum = 0;
    STRATA_UNROLL
    for (int part = 0; part < parts; ++part) sum += device::dot(values[part], other.values[part]);
    return sum;
  }
  __device__ __forceinline__ void add(float factor, const lane_channels& other) {
    STRATA_UNROLL
    for (int part = 0; part < parts; ++part)
      values[part] = map_four([=](float x, float y) { return x + factor * y; }, values[part], other.values[part]);
  }
  __device__ __forceinline__ void scale(float factor) {
    STRATA_UNROLL
    for (int part = 0; part < parts; ++part) values[part] = map_four([=](float x) { return x * factor; }, values[part]);
  }
};

/// The maximum, which ignores NaN.
template <int Lanes = row_lanes>
__device__ __forceinline__ float row_max(float value) {
  STRATA_UNROLL
  for (int apart = Lanes / 2; apart > 0; apart /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, apart));
  return value;
}
/// The base of exponents: a maximum, or 0 before any key is seen, so that unseen keys weigh exp(-inf) = 0.
__device__ __forceinline__ float exponent_base(float largest) { return largest == -INFINITY ? 0.f : largest; }

/// The cos and sin of all positions, [n,E/2] each; without a table nothing is rotated.
struct rotation {
  const float* cosine = nullptr;
  const float* sine = nullptr;
};

/// A range of indices of a sequence.
struct index_range {
  int first, count;
  __device__ __forceinline__ int last() const { return first + count - 1; }
};

/// What all kernels of one attention need.
struct attention_arguments {
  attention_shape shape;
  int span;  ///< at most the length
  float scale;
  const float* table;
  index_type positions;  ///< of the table
  fours half;            ///< half a head, in all arrays

  /// `which`: 0 for queries, 1 for keys.
  __device__ __forceinline__ rotation rotation_of(int which) const {
    if (table == nullptr) return {};
    const index_type size = positions * (shape.head_dim / 2);
    return {table + 2 * which * size, table + (2 * which + 1) * size};
  }
  __device__ __forceinline__ bool sees(int query, int key) const { return key <= query && query - key < span; }
  /// Whether any of these queries sees any of these keys, and whether all see all.
  __device__ __forceinline__ bool sees_some(const index_range& queries, const index_range& keys) const {
    return keys.first <= queries.last() && queries.first - keys.last() < span;
  }
  __device__ __forceinline__ bool sees_all(const index_range& queries, const index_range& keys) const {
    return keys.last() <= queries.first && queries.last() - keys.first < span;
  }
};

/// Rows of E channels, `step` apart, and their rotation. Channels e and e + E/2 are a pair: x and y of two_fours.
template <class T>
struct head_rows {
  T* first;
  index_type step;
  rotation by;
  const fours& half;  ///< the channels up to E/2

  /// The pairs from e on, not rotated.
  __device__ __forceinline__ two_fours both_halves(const float* row, int e) const {
    return {half.load(row, e), half.load(row + half.columns, e)};
  }
  /// The pairs of row i from e on, rotated.
  __device__ __forceinline__ two_fours pairs(index_type i, int e) const {
    const two_fours own = both_halves(first + i * step, e);
    if (by.cosine == nullptr) return own;
    const float4 cosine = half.load(by.cosine + i * half.columns, e), sine = half.load(by.sine + i * half.columns, e);
    return {map_four([](float x, float y, float c, float s) { return x * c - y * s; }, own.x, own.y, cosine, sine),
            map_four([](float x, float y, float c, float s) { return y * c + x * s; }, own.x, own.y, cosine, sine)};
  }
  /// The pairs of row i from e on = own, rotated back.
  __device__ __forceinline__ void put_pairs(index_type i, int e, two_fours own) const {
    if (by.cosine != nullptr) {
      const float4 cosine = half.load(by.cosine + i * half.columns, e), sine = half.load(by.sine + i * half.columns, e);
      own = {map_four([](float x, float y, float c, float s) { return x * c + y * s; }, own.x, own.y, cosine, sine),
             map_four([](float x, float y, float c, float s) { return y * c - x * s; }, own.x, own.y, cosine, sine)};
    }
    half.store(first + i * step, e, own.x);
    half.store(first + i * step + half.columns, e, own.y);
  }
};

/// The offsets of one interleaved sequence of one head. `task` counts batch, heads and interleaved sequences.
struct attention_sequence {
  const attention_arguments& own;
  int count, head_dim;  // indices of this sequence, E
  index_type dim;       // H E
  index_type row;       // of index 0 in [B n]
  index_type head_row;  // of index 0 in [B,H,n]
  index_type channel;   // of the head inside [H E]

  __device__ __forceinline__ attention_sequence(const attention_arguments& arguments, index_type task)
      : own(arguments), head_dim(own.shape.head_dim), dim(static_cast<index_type>(own.shape.heads) * head_dim) {
    const attention_shape& shape = own.shape;
    const index_type sequence = task % shape.dilation, head = task / shape.dilation % shape.heads;
    const index_type b = task / shape.dilation / shape.heads;
    count = static_cast<int>((shape.length - sequence + shape.dilation - 1) / shape.dilation);
    row = b * shape.length + sequence;
    head_row = (b * shape.heads + head) * shape.length + sequence;
    channel = head * head_dim;
  }
  /// The sequence's part of a matrix [B n, H E].
  template <class T>
  __device__ __forceinline__ head_rows<T> of(T* rows) const {
    return {rows + row * dim + channel, own.shape.dilation * dim, {}, own.half};
  }
  template <class T>
  __device__ __forceinline__ head_rows<T> queries_of(T* qkv) const {
    return {qkv + 3 * row * dim + channel, 3 * own.shape.dilation * dim, own.rotation_of(0), own.half};
  }
  template <class T>
  __device__ __forceinline__ head_rows<T> keys_of(T* qkv) const {
    return {qkv + (3 * row + 1) * dim + channel, 3 * own.shape.dilation * dim, own.rotation_of(1), own.half};
  }
  template <class T>
  __device__ __forceinline__ head_rows<T> values_of(T* qkv) const {
    return {qkv + (3 * row + 2) * dim + channel, 3 * own.shape.dilation * dim, {}, own.half};
  }
  /// The offset of index i in [B,H,n].
  __device__ __forceinline__ index_type in_heads(int i) const {
    return head_row + static_cast<index_type>(i) * own.shape.dilation;
  }
};

/// Calls action(std::integral_constant<int, Width>{}) for the narrowest kernel that holds a head.
template <class Action>
void with_head_width(int head_dim, Action action) {
  if (head_dim <= 16) return action(std::integral_constant<int, 16>{});
  if (head_dim <= 32) return action(std::integral_constant<int, 32>{});
  if (head_dim <= 64) return action(std::integral_constant<int, 64>{});
  if (head_dim <= 128) return action(std::integral_constant<int, 128>{});
  fail("CUDA: attention has kernels for heads of up to 128 channels, not of ", head_dim);
}

inline float attention_scale(int head_dim) { return 1 / std::sqrt(static_cast<float>(head_dim)); }

/// `arrays`: all arrays that the kernels read or write.
inline attention_arguments arguments_of(const attention_shape& shape, const view<const float, 3>& table,
                                        std::initializer_list<const float*> arrays) {
  const fours half(shape.head_dim / 2, {}, arrays);
  return {shape,
          static_cast<int>(std::min(shape.span, shape.length)),
          attention_scale(shape.head_dim),
          table.data,
          table.shape[1],
          half};
}
/// Launches blocks [tasks, tiles of rows].
template <class Tile, class... Parameters, class... Arguments>
void launch_tiles(cuda& backend, const called_with<attention_shape>& given, std::size_t shared_bytes,
                  void (*kernel)(Parameters...), Arguments&&... arguments) {
  constexpr index_type most_positions = most_blocks_in_y * Tile::rows;
  const attention_shape& shape = given.value;
  const index_type positions = (shape.length + shape.dilation - 1) / shape.dilation;
  require(positions <= most_positions, "CUDA: attention is over up to ", most_positions, " positions, not ", positions);
  const dim3 blocks(static_cast<unsigned>(shape.batch * shape.heads * shape.dilation),
                    blocks_for(positions, Tile::rows));
  launch(backend, {blocks, Tile::threads, shared_bytes, given.at}, kernel, std::forward<Arguments>(arguments)...);
}

}  // namespace strata::device
