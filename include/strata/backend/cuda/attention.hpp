// attention, its gradient and one step of incremental attention.
// Shapes: qkv [B n, 3 H E] -> y [B n, H E], log_sum_exp [B,H,n]; backend/backend.hpp says what a row holds.
// Source: FlashAttention, arXiv 2205.14135. A block of threads keeps a tile of queries (or, for their gradients, of
// keys and values); the other rows pass through shared memory in small blocks. attention_tensor_cores.hpp does it in
// bfloat16.
#pragma once

#include <algorithm>
#include <cfloat>
#include <type_traits>

#include <strata/backend/cuda/attention_rows.hpp>
#include <strata/backend/cuda/attention_tensor_cores.hpp>
#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/matrix_products.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

__device__ __forceinline__ void load_vector(const float* from, float (&to)[2]) {
  const float2 both = *reinterpret_cast<const float2*>(from);
  to[0] = both.x, to[1] = both.y;
}
__device__ __forceinline__ void load_vector(const float* from, float (&to)[4]) {
  const float4 all = *reinterpret_cast<const float4*>(from);
  to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
}

__device__ __forceinline__ bool is_finite(const float4& x) {
  return fabsf(x.x) <= FLT_MAX && fabsf(x.y) <= FLT_MAX && fabsf(x.z) <= FLT_MAX && fabsf(x.w) <= FLT_MAX;
}

/// A tile of Rows rows, which a block of threads computes against blocks of `columns` rows of up to Width channels. A
/// thread has `size` rows, `groups` apart; with its row lanes it has all their columns and channels.
template <int Width, int Rows>
struct attention_tile {
  static constexpr int rows = Rows, columns = 32, size = 4, columns_a_lane = columns / row_lanes;
  static constexpr int groups = Rows / size, threads = groups * row_lanes;
  static constexpr int vector = Width / row_lanes < 4 ? Width / row_lanes : 4;  // neighbouring channels of a lane
  static constexpr int vectors = Width / row_lanes / vector;
  static constexpr int stride = Width + 4, weight_stride = columns + 4;  // neighbouring rows start in different banks
  static constexpr int quads = Width / 8;  // groups of 4 pairs of channels; a thread moves one group of several rows
  static_assert(threads % quads == 0);
  static constexpr int row_floats = rows * stride, column_floats = columns * stride;
  static constexpr int weight_floats = rows * weight_stride;

  using scores = float[size][columns_a_lane];
  using mixed = float[size][vectors][vector];

  int group = group_of_lanes(), lane = lane_of_row();

  __device__ __forceinline__ int row(int i) const { return group + i * groups; }
  __device__ __forceinline__ int column(int j) const { return lane + j * row_lanes; }
  __device__ __forceinline__ int channel(int v) const { return (v * row_lanes + lane) * vector; }

  /// to[rows_to_load, Width] = indices first, first + 1, .. of a sequence, rotated, else zeros. Returns whether the
  /// numbers of this thread are finite.
  __device__ static bool load(const attention_sequence& sequence, const head_rows<const float>& from, int first,
                              int rows_to_load, float* to) {
    const fours& half = from.half;
    const int e = 4 * (static_cast<int>(threadIdx.x) % quads);
    bool finite = true;
    for (int row = static_cast<int>(threadIdx.x) / quads; row < rows_to_load; row += threads / quads) {
      float* const out = to + row * stride;
      const index_type i = first + row;
      two_fours own{};
      if (e < half.columns) {
        if (i < sequence.count) own = from.pairs(i, e);
        half.store(out, e, own.x);
        half.store(out + half.columns, e, own.y);
      }
      finite = finite && is_finite(own.x) && is_finite(own.y);
      STRATA_UNROLL
      for (int k = 0; k < 4; ++k)  // channels that heads do not have
        if (e + k >= half.columns) out[2 * (e + k)] = out[2 * (e + k) + 1] = 0;
    }
    return finite;
  }

  /// Indices first, first + 1, .. of a sequence = the tile from[rows, Width], rotated back.
  __device__ static void store(const attention_sequence& sequence, const float* from, int first,
                               const head_rows<float>& to) {
    const int e = 4 * (static_cast<int>(threadIdx.x) % quads);
    if (e >= to.half.columns) return;
    for (int row = static_cast<int>(threadIdx.x) / quads; row < rows; row += threads / quads) {
      const index_type i = first + row;
      if (i >= sequence.count) return;
      to.put_pairs(i, e, to.both_halves(from + row * stride, e));
    }
  }

  /// out = the inner products of this thread's rows of a[rows, Width] and of b[columns, Width].
  __device__ __forceinline__ void multiply(const float* a, const float* b, int head_dim, scores& out) const {
    STRATA_UNROLL
    for (int i = 0; i < size; ++i) STRATA_UNROLL
    for (int j = 0; j < columns_a_lane; ++j) out[i][j] = 0;
    for (int e = 0; e < head_dim; e += 4) {
      float x[size][4], y[columns_a_lane][4];
      STRATA_UNROLL
      for (int i = 0; i < size; ++i) load_vector(a + row(i) * stride + e, x[i]);
      STRATA_UNROLL
      for (int j = 0; j < columns_a_lane; ++j) load_vector(b + column(j) * stride + e, y[j]);
      STRATA_UNROLL
      for (int i = 0; i < size; ++i) STRATA_UNROLL
      for (int j = 0; j < columns_a_lane; ++j) STRATA_UNROLL
      for (int k = 0; k < 4; ++k) out[i][j] += x[i][k] * y[j][k];
    }
  }

  /// Stores this thread's part of weights[rows, columns]. Only its own row lanes read it, after __syncwarp().
  __device__ __forceinline__ void keep(const scores& own, float* weights) const {
    STRATA_UNROLL
    for (int i = 0; i < size; ++i) STRATA_UNROLL
    for (int j = 0; j < columns_a_lane; ++j) weights[row(i) * weight_stride + column(j)] = own[i][j];
  }

  /// out += weights[rows, columns] b[columns, Width], for this thread's rows and channels. Since 0 times inf is NaN,
  /// only columns with counts(row, column) take part if b is not finite.
  template <class Counts>
  __device__ __forceinline__ void add_weighted(const float* weights, const float* b, bool finite, Counts counts,
                                               mixed& out) const {
    if (!finite) {
      for (int j = 0; j < columns; ++j) STRATA_UNROLL
      for (int i = 0; i < size; ++i) {
        if (!counts(row(i), j)) continue;
        const float weight = weights[row(i) * weight_stride + j];
        STRATA_UNROLL
        for (int v = 0; v < vectors; ++v) STRATA_UNROLL
        for (int k = 0; k < vector; ++k) out[i][v][k] += weight * b[j * stride + channel(v) + k];
      }
      return;
    }
    for (int first = 0; first < columns; first += 4) {
      float weight[size][4];
      STRATA_UNROLL
      for (int i = 0; i < size; ++i) load_vector(weights + row(i) * weight_stride + first, weight[i]);
      STRATA_UNROLL
      for (int j = 0; j < 4; ++j) STRATA_UNROLL
      for (int v = 0; v < vectors; ++v) {
        float value[vector];
        load_vector(b + (first + j) * stride + channel(v), value);
        STRATA_UNROLL
        for (int i = 0; i < size; ++i) STRATA_UNROLL
        for (int k = 0; k < vector; ++k) out[i][v][k] += weight[i][j] * value[k];
      }
    }
  }

  /// Multiplies this thread's row i by `factor`.
  __device__ __forceinline__ static void scale(int i, float factor, mixed& out) {
    STRATA_UNROLL
    for (int v = 0; v < vectors; ++v) STRATA_UNROLL
    for (int k = 0; k < vector; ++k) out[i][v][k] *= factor;
  }
  /// Stores this thread's part of the tile to[rows, Width], for `store`. No other warp has read these rows.
  __device__ __forceinline__ void put(const mixed& own, float* to) const {
    __syncwarp();  // other lanes of the row may still read it
    STRATA_UNROLL
    for (int i = 0; i < size; ++i) STRATA_UNROLL
    for (int v = 0; v < vectors; ++v) STRATA_UNROLL
    for (int k = 0; k < vector; ++k) to[row(i) * stride + channel(v) + k] = own[i][v][k];
  }
};

template <int Width>
using forward_tile = attention_tile<Width, 64>;
/// The backward pass keeps two tiles of rows: of wide heads 64 rows would not fit into shared memory.
template <int Width>
using backward_tile = attention_tile<Width, Width <= 64 ? 64 : 32>;

template <class Tile>
constexpr std::size_t attention_bytes() {
  return sizeof(float) * (Tile::row_floats + 2 * Tile::column_floats + Tile::weight_floats);
}
template <class Tile>
constexpr std::size_t attention_backward_bytes() {
  return sizeof(float) * (2 * Tile::row_floats + 2 * Tile::column_floats + Tile::weight_floats + 2 * Tile::columns);
}

/// Blocks: [tasks, tiles of queries]. Without the 1 nvcc spills registers of narrow heads to fit more blocks.
template <int Width>
__global__ void __launch_bounds__(forward_tile<Width>::threads, 1)
    attention_kernel(attention_arguments own, const float* qkv, float* y, float* log_sum_exp) {
  using tile = forward_tile<Width>;
  STRATA_DYNAMIC_SHARED(float, queries);
  float* const keys = queries + tile::row_floats;
  float* const values = keys + tile::column_floats;
  float* const weights = values + tile::column_floats;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * tile::rows;  // most keys first
  if (first >= sequence.count) return;
  const tile me;

  tile::load(sequence, sequence.queries_of(qkv), first, tile::rows, queries);
  typename tile::mixed mixed{};
  float largest[tile::size], sum[tile::size];
  STRATA_UNROLL
  for (int i = 0; i < tile::size; ++i) largest[i] = -INFINITY, sum[i] = 0;
  const int end = min(first + tile::rows, sequence.count);
  for (int from = max(first - own.span + 1, 0); from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last keys and values
    tile::load(sequence, sequence.keys_of(qkv), from, tile::columns, keys);
    const bool finite = tile::load(sequence, sequence.values_of(qkv), from, tile::columns, values);
    const bool all_finite = __syncthreads_and(finite) != 0;
    const auto seen = [&](int row, int column) { return own.sees(first + row, from + column); };
    typename tile::scores score;
    me.multiply(queries, keys, sequence.head_dim, score);
    STRATA_UNROLL
    for (int i = 0; i < tile::size; ++i) {
      float most = largest[i];
      STRATA_UNROLL
      for (int j = 0; j < tile::columns_a_lane; ++j) {
        score[i][j] = seen(me.row(i), me.column(j)) ? score[i][j] * own.scale : -INFINITY;
        most = fmaxf(most, score[i][j]);
      }
      most = row_max(most);
      const float base = exponent_base(most), correction = expf(largest[i] - base);
      largest[i] = most;
      sum[i] *= correction;
      tile::scale(i, correction, mixed);
      STRATA_UNROLL
      for (int j = 0; j < tile::columns_a_lane; ++j) sum[i] += score[i][j] = expf(score[i][j] - base);
    }
    me.keep(score, weights);
    __syncwarp();
    me.add_weighted(weights, values, all_finite, seen, mixed);
  }

  STRATA_UNROLL
  for (int i = 0; i < tile::size; ++i) {
    const float total = row_sum(sum[i]);
    tile::scale(i, 1 / total, mixed);
    const int query = first + me.row(i);
    if (me.lane == 0 && query < sequence.count) log_sum_exp[sequence.in_heads(query)] = largest[i] + logf(total);
  }
  me.put(mixed, queries);
  __syncthreads();
  tile::store(sequence, queries, first, sequence.of(y));
}

/// dquery, and along[B,H,n]: per query the sum over keys of weight times its gradient. Blocks: [tasks, tiles of
/// queries].
template <int Width>
__global__ void __launch_bounds__(backward_tile<Width>::threads)
    attention_backward_query_kernel(attention_arguments own, const float* qkv, const float* y, const float* log_sum_exp,
                                    const float* dy, float* along, float* dqkv) {
  using tile = backward_tile<Width>;
  STRATA_DYNAMIC_SHARED(float, queries);
  float* const slopes = queries + tile::row_floats;
  float* const keys = slopes + tile::row_floats;
  float* const values = keys + tile::column_floats;
  float* const weights = values + tile::column_floats;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * tile::rows;
  if (first >= sequence.count) return;
  const tile me;

  tile::load(sequence, sequence.queries_of(qkv), first, tile::rows, queries);
  tile::load(sequence, sequence.of(dy), first, tile::rows, slopes);
  __syncthreads();
  const head_rows<const float> results = sequence.of(y);
  float normaliser[tile::size], own_along[tile::size];
  STRATA_UNROLL
  for (int i = 0; i < tile::size; ++i) {
    const int query = first + me.row(i);
    const bool exists = query < sequence.count;
    float sum = 0;
    for (int e = 4 * me.lane; e < own.half.columns && exists; e += 4 * row_lanes)
      sum += dot(results.pairs(query, e), results.both_halves(slopes + me.row(i) * tile::stride, e));
    own_along[i] = row_sum(sum);
    normaliser[i] = exists ? log_sum_exp[sequence.in_heads(query)] : 0;
    if (me.lane == 0 && exists) along[sequence.in_heads(query)] = own_along[i];
  }

  typename tile::mixed dquery{};
  const int end = min(first + tile::rows, sequence.count);
  for (int from = max(first - own.span + 1, 0); from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last keys and values
    const bool finite = tile::load(sequence, sequence.keys_of(qkv), from, tile::columns, keys);
    tile::load(sequence, sequence.values_of(qkv), from, tile::columns, values);
    const bool all_finite = __syncthreads_and(finite) != 0;
    const auto seen = [&](int row, int column) { return own.sees(first + row, from + column); };
    typename tile::scores score, dscore;
    me.multiply(queries, keys, sequence.head_dim, score);
    me.multiply(slopes, values, sequence.head_dim, dscore);
    STRATA_UNROLL
    for (int i = 0; i < tile::size; ++i) STRATA_UNROLL
    for (int j = 0; j < tile::columns_a_lane; ++j)
      dscore[i][j] = seen(me.row(i), me.column(j))
                         ? expf(score[i][j] * own.scale - normaliser[i]) * (dscore[i][j] - own_along[i]) * own.scale
                         : 0;
    me.keep(dscore, weights);
    __syncwarp();
    me.add_weighted(weights, keys, all_finite, seen, dquery);
  }
  me.put(dquery, queries);
  __syncthreads();
  tile::store(sequence, queries, first, sequence.queries_of(dqkv));
}

/// dkey and dvalue. Blocks: [tasks, tiles of keys].
template <int Width>
__global__ void __launch_bounds__(backward_tile<Width>::threads)
    attention_backward_key_kernel(attention_arguments own, const float* qkv, const float* log_sum_exp, const float* dy,
                                  const float* along, float* dqkv) {
  using tile = backward_tile<Width>;
  STRATA_DYNAMIC_SHARED(float, keys);
  float* const values = keys + tile::row_floats;
  float* const queries = values + tile::row_floats;
  float* const slopes = queries + tile::column_floats;
  float* const weights = slopes + tile::column_floats;
  float* const normaliser = weights + tile::weight_floats;
  float* const along_of = normaliser + tile::columns;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(blockIdx.y) * tile::rows;
  if (first >= sequence.count) return;
  const tile me;

  tile::load(sequence, sequence.keys_of(qkv), first, tile::rows, keys);
  tile::load(sequence, sequence.values_of(qkv), first, tile::rows, values);
  typename tile::mixed dkey{}, dvalue{};
  const int end = min(first + tile::rows - 1 + own.span, sequence.count);
  for (int from = first; from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last queries
    bool finite = tile::load(sequence, sequence.queries_of(qkv), from, tile::columns, queries);
    finite = tile::load(sequence, sequence.of(dy), from, tile::columns, slopes) && finite;
    for (int j = static_cast<int>(threadIdx.x); j < tile::columns; j += tile::threads) {
      const bool exists = from + j < sequence.count;
      normaliser[j] = exists ? log_sum_exp[sequence.in_heads(from + j)] : 0;
      along_of[j] = exists ? along[sequence.in_heads(from + j)] : 0;
    }
    const bool all_finite = __syncthreads_and(finite) != 0;
    const auto seen = [&](int row, int column) { return own.sees(from + column, first + row); };
    typename tile::scores weight, dscore;
    me.multiply(keys, queries, sequence.head_dim, weight);
    me.multiply(values, slopes, sequence.head_dim, dscore);
    STRATA_UNROLL
    for (int i = 0; i < tile::size; ++i) STRATA_UNROLL
    for (int j = 0; j < tile::columns_a_lane; ++j) {
      const int column = me.column(j);
      const bool counts = seen(me.row(i), column);
      weight[i][j] = counts ? expf(weight[i][j] * own.scale - normaliser[column]) : 0;
      dscore[i][j] = counts ? weight[i][j] * (dscore[i][j] - along_of[column]) * own.scale : 0;
    }
    me.keep(weight, weights);
    __syncwarp();
    me.add_weighted(weights, slopes, all_finite, seen, dvalue);
    __syncwarp();
    me.keep(dscore, weights);
    __syncwarp();
    me.add_weighted(weights, queries, all_finite, seen, dkey);
  }
  me.put(dkey, keys);
  me.put(dvalue, values);
  __syncthreads();
  tile::store(sequence, keys, first, sequence.keys_of(dqkv));
  tile::store(sequence, values, first, sequence.values_of(dqkv));
}

/// A softmax over some of the keys of one query, by the lanes that share a row.
template <int Width>
struct softmax_part {
  float largest = -INFINITY, sum = 0;
  lane_channels<Width> mixed;

  __device__ __forceinline__ void add(float score, const lane_channels<Width>& value) {
    if (score > largest) {
      const float correction = expf(largest - score);
      sum *= correction;
      mixed.scale(correction);
      largest = score;
    }
    const float weight = expf(score - exponent_base(largest));
    sum += weight;
    mixed.add(weight, value);
  }
};

/// One row for each of a block's groups of row lanes, [Groups,Width].
template <int Width, int Groups>
struct row_parts {
  alignas(16) float values[Groups][Width];
  __device__ __forceinline__ void put(const lane_channels<Width>& own) {
    const int group = group_of_lanes();
    STRATA_UNROLL
    for (int part = 0; part < own.parts; ++part)
      if (own.column(part) < Width) four_at(values[group] + own.column(part)) = own.values[part];
  }
  /// The sum over the groups of factor(group) times channels e, e + 1, ..
  template <class Factor>
  __device__ __forceinline__ float4 sum(index_type e, Factor factor) const {
    float4 total = make_float4(0, 0, 0, 0);
    for (int group = 0; group < Groups; ++group) {
      const float own = factor(group);
      total = map_four([=](float x, float y) { return x + own * y; }, total, four_at(values[group] + e));
    }
    return total;
  }
};

/// Merges the softmaxes of a block's groups into y[E] and log_sum_exp[1], which may be null. With `add` the old values
/// are one more part.
template <int Width, int Threads>
__device__ void write_softmax(const softmax_part<Width>& own, const fours& memory, float* y, float* log_sum_exp,
                              bool add) {
  constexpr int groups = Threads / row_lanes;
  STRATA_SHARED(mixed, row_parts<Width, groups>);
  STRATA_SHARED(largest, float[groups]);
  STRATA_SHARED(sum, float[groups]);
  const int group = group_of_lanes();
  mixed.put(own.mixed);
  if (lane_of_row() == 0) largest[group] = own.largest, sum[group] = own.sum;
  __syncthreads();
  const float before = add ? log_sum_exp[0] : -INFINITY;
  float most = before;
  for (int part = 0; part < groups; ++part) most = fmaxf(most, largest[part]);
  const float base = exponent_base(most), kept = add ? expf(before - base) : 0;
  float total = kept;
  for (int part = 0; part < groups; ++part) total += expf(largest[part] - base) * sum[part];
  for (index_type e = 4 * static_cast<index_type>(threadIdx.x); e < memory.columns; e += 4 * Threads) {
    float4 value = mixed.sum(e, [&](int part) { return expf(largest[part] - base); });
    if (add) value = map_four([=](float now, float old) { return now + kept * old; }, value, memory.load(y, e));
    memory.store(y, e, map_four([=](float now) { return now / total; }, value));
  }
  if (log_sum_exp == nullptr) return;
  __syncthreads();  // all threads have read the old value
  if (threadIdx.x == 0) log_sum_exp[0] = most + logf(total);
}

/// One block per query and head. The key and value at distance d are in slot newest - d of rings [B,span,H E]. A lane
/// has channels e and e + E/2, which the table rotates together.
template <int Width, int Threads>
__global__ void attention_step_kernel(attention_shape shape, index_type newest, index_type seen, float scale,
                                      fours whole, fours half, const float* qkv, const float* table, float* keys,
                                      float* values, float* y) {
  constexpr int groups = Threads / row_lanes;
  using channels_of_half = lane_channels<Width / 2>;
  const index_type head = static_cast<index_type>(blockIdx.x) % shape.heads,
                   b = static_cast<index_type>(blockIdx.x) / shape.heads;
  const index_type dim = static_cast<index_type>(shape.heads) * shape.head_dim, channel = head * shape.head_dim;
  const float* const query = qkv + 3 * b * dim + channel;
  keys += b * shape.span * dim + channel;
  values += b * shape.span * dim + channel;
  for (index_type e = 4 * static_cast<int>(threadIdx.x); e < shape.head_dim; e += 4 * Threads) {
    whole.store(keys + newest * dim, e, whole.load(query + dim, e));
    whole.store(values + newest * dim, e, whole.load(query + 2 * dim, e));
  }
  __syncthreads();

  const int group = group_of_lanes();
  auto low = channels_of_half::load(query, half), high = channels_of_half::load(query + half.columns, half);
  low.scale(scale);
  high.scale(scale);
  constexpr auto product = [](float q1, float q2, float k1, float k2, float c, float s) {
    return (q1 * k1 + q2 * k2) * c + (q1 * k2 - q2 * k1) * s;
  };
  softmax_part<Width> part;
  for (index_type from = 0; from < seen; from += groups) {
    const index_type distance = from + group, slot = newest - distance + (newest < distance ? shape.span : 0);
    const bool exists = distance < seen;
    float score = 0;
    if (exists) {
      const float* const key = keys + slot * dim;
      const auto key_low = channels_of_half::load(key, half);
      const auto key_high = channels_of_half::load(key + half.columns, half);
      const auto cosine = channels_of_half::load(table + distance * half.columns, half);
      const auto sine = channels_of_half::load(table + (shape.span + distance) * half.columns, half);
      STRATA_UNROLL
      for (int p = 0; p < channels_of_half::parts; ++p) {
        const float4 rotated = map_four(product, low.values[p], high.values[p], key_low.values[p], key_high.values[p],
                                        cosine.values[p], sine.values[p]);
        score += rotated.x + rotated.y + rotated.z + rotated.w;
      }
    }
    score = row_sum(score);
    if (exists) part.add(score, lane_channels<Width>::load(values + slot * dim, whole));
  }
  write_softmax<Width, Threads>(part, whole, y + b * dim + channel, nullptr, false);
}

inline constexpr int threads_of_steps = 128;

}  // namespace device

inline void attention(cuda& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                      output<float, 2> y, output<float, 3> log_sum_exp) {
  device::with_head_width(shape.head_dim, [&](auto width) {
    const auto run = [&]<class Tile>(std::type_identity<Tile>, std::size_t shared_bytes, auto kernel) {
      device::launch_tiles<Tile>(backend, shape, shared_bytes, kernel,
                                 device::arguments_of(shape, table, {table.data, qkv.data, y.data}), qkv.data, y.data,
                                 log_sum_exp.data);
    };
    if (backend.products().precision() == cuda_precision::bfloat16) {
      using tile = device::tensor_forward_tile<width()>;
      run(std::type_identity<tile>{}, tile::forward_bytes, device::attention_tensor_kernel<width()>);
    } else {
      using tile = device::forward_tile<width()>;
      run(std::type_identity<tile>{}, device::attention_bytes<tile>(), device::attention_kernel<width()>);
    }
  });
}

inline void attention_backward(cuda& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                               input<float, 2> y, input<float, 3> log_sum_exp, input<float, 2> dy,
                               output<float, 2> dqkv) {
  device::with_head_width(shape.head_dim, [&](auto width) {
    const auto run = [&]<class Tile>(std::type_identity<Tile>, std::size_t shared_bytes, auto query_kernel,
                                     auto key_kernel) {
      const auto own = device::arguments_of(shape, table, {table.data, qkv.data, y.data, dy.data, dqkv.data});
      float* const along = backend.scratch(log_sum_exp.size());
      device::launch_tiles<Tile>(backend, shape, shared_bytes, query_kernel, own, qkv.data, y.data, log_sum_exp.data,
                                 dy.data, along, dqkv.data);
      device::launch_tiles<Tile>(backend, shape, shared_bytes, key_kernel, own, qkv.data, log_sum_exp.data, dy.data,
                                 along, dqkv.data);
    };
    if (backend.products().precision() == cuda_precision::bfloat16) {
      using tile = device::tensor_backward_tile<width()>;
      run(std::type_identity<tile>{}, tile::backward_bytes, device::attention_tensor_backward_query_kernel<width()>,
          device::attention_tensor_backward_key_kernel<width()>);
    } else {
      using tile = device::backward_tile<width()>;
      run(std::type_identity<tile>{}, device::attention_backward_bytes<tile>(),
          device::attention_backward_query_kernel<width()>, device::attention_backward_key_kernel<width()>);
    }
  });
}

inline void attention_step(cuda& backend, const attention_shape& shape, index_type count, input<float, 2> qkv,
                           input<float, 3> table, output<float, 3> keys, output<float, 3> values, output<float, 2> y) {
  constexpr int threads = device::threads_of_steps;
  device::with_head_width(shape.head_dim, [&](auto width) {
    device::launch(backend, {static_cast<unsigned>(shape.batch * shape.heads), threads},
                   device::attention_step_kernel<width(), threads>, shape, count % shape.span,
                   std::min(count + 1, shape.span), device::attention_scale(shape.head_dim),
                   device::fours(shape.head_dim, {}, {qkv.data, keys.data, values.data, y.data}),
                   device::fours(shape.head_dim / 2, {}, {qkv.data, keys.data, table.data}), qkv.data, table.data,
                   keys.data, values.data, y.data);
  });
}

}  // namespace strata
