// attention and its gradient on tensor cores: matrix products of bfloat16, added in float; softmax in float.
// Shapes: qkv [B n, 3 H E] -> y [B n, H E], log_sum_exp [B,H,n]; backend/backend.hpp says what a row holds.
// Source: FlashAttention-2, arXiv 2307.08691: a warp keeps 16 rows with all channels in registers, so weights stay in
// registers between matrix products. PTX ISA, "Matrix Fragments for mma.m16n8k16".
#pragma once

#include <strata/backend/cuda/attention_rows.hpp>
#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/tensor_cores.hpp>
#include <strata/core/weight_format.hpp>

namespace strata::inline STRATA_ABI::device {

/// Weights are computed as powers of two: exp(x) = exp2(log2_of_e x).
inline constexpr float log2_of_e = 1.4426950408889634f, log_of_2 = 0.6931471805599453f;

/// A tile of 64 rows, which a block computes against blocks of Columns rows, both of up to Width channels. A warp has
/// 16 rows. Its results come in parts [16,8]; a lane has 2 neighbouring columns of 2 rows of each part.
template <int Width, int Columns>
struct tensor_tile {
  static constexpr int rows_a_warp = 16, warps = 4, rows = warps * rows_a_warp, threads = warps * warp_size;
  static constexpr int columns = Columns, quads = Width / 8;  // groups of 4 pairs of channels
  static constexpr int lanes_a_row = 4;
  // 8 neighbouring rows are read at once, 16 bytes of each: together they lie in all banks.
  static constexpr int stride = Width + 8, row_numbers = rows * stride, column_numbers = columns * stride;
  static constexpr int staging_stride = Width + 4;

  static constexpr std::size_t forward_bytes = sizeof(bfloat16) * (row_numbers + 2 * column_numbers);
  static constexpr std::size_t backward_bytes =
      sizeof(bfloat16) * 2 * (row_numbers + column_numbers) + sizeof(float) * 2 * columns;
  static_assert(sizeof(float) * rows * staging_stride <= forward_bytes);

  using scores = float[columns / 8][4];
  using mixed = float[Width / 8][4];

  int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;

  /// The tile's row of this lane's elements 2 r and 2 r + 1 of a part.
  __device__ __forceinline__ int row(int r) const { return warp * rows_a_warp + r * 8 + lane / lanes_a_row; }
  /// The column of this lane's elements c and 2 + c of a part.
  __device__ __forceinline__ int column(int part, int c) const { return part * 8 + lane % lanes_a_row * 2 + c; }
  __device__ __forceinline__ index_range rows_of_warp(int first) const {
    return {first + warp * rows_a_warp, rows_a_warp};
  }

  /// to[Rows, Width] = indices first, first + 1, .. of a sequence, rotated, else zeros. Returns whether the numbers of
  /// this thread are finite.
  template <int Rows>
  __device__ static bool load(const attention_sequence& sequence, const head_rows<const float>& from, int first,
                              bfloat16* to) {
    static_assert(Rows * quads % threads == 0);
    const fours& half = from.half;
    bool finite = true;
    for (int n = static_cast<int>(threadIdx.x); n < Rows * quads; n += threads) {
      const int e = 4 * (n % quads);
      bfloat16* const out = to + n / quads * stride;
      const index_type i = first + n / quads;
      if (e < half.columns) {
        const two_fours own = i < sequence.count ? from.pairs(i, e) : two_fours{};
        finite = put_rounded(half, out, e, own.x) && finite;
        finite = put_rounded(half, out + half.columns, e, own.y) && finite;
      }
      STRATA_UNROLL
      for (int k = 0; k < 4; ++k)  // channels that heads do not have
        if (e + k >= half.columns) out[2 * (e + k)] = out[2 * (e + k) + 1] = {};
    }
    return finite;
  }

  /// Stores this warp's rows, rotated back, at indices first, first + 1, .. of a sequence. Its rows of `staging`
  /// [rows, staging_stride] must be free.
  __device__ void store(const mixed& own, const attention_sequence& sequence, int first, const head_rows<float>& to,
                        float* staging) const {
    __syncwarp();  // other lanes may still read it
    STRATA_UNROLL
    for (int part = 0; part < Width / 8; ++part) STRATA_UNROLL
    for (int n = 0; n < 4; ++n) staging[row(n / 2) * staging_stride + column(part, n % 2)] = own[part][n];
    __syncwarp();
    for (int n = lane; n < rows_a_warp * quads; n += warp_size) {
      const int e = 4 * (n % quads), from = warp * rows_a_warp + n / quads;
      if (e >= to.half.columns || first + from >= sequence.count) continue;
      to.put_pairs(first + from, e, to.both_halves(staging + from * staging_stride, e));
    }
  }

  /// out = the inner products of this warp's rows of a[rows, Width] and all rows of b[columns, Width].
  __device__ __forceinline__ void multiply(const bfloat16* a, const bfloat16* b, int head_dim, scores& out) const {
    STRATA_UNROLL
    for (int part = 0; part < columns / 8; ++part) STRATA_UNROLL
    for (int n = 0; n < 4; ++n) out[part][n] = 0;
    a += (warp * rows_a_warp + lane % 16) * stride + lane / 16 * 8;
    b += (lane / 16 * 8 + lane % 8) * stride + lane / 8 % 2 * 8;
    STRATA_UNROLL
    for (int e = 0; e < Width; e += 16) {
      if (e >= head_dim) break;  // nothing but zeros
      unsigned left[4];
      ldmatrix_x4(left, a + e);
      STRATA_UNROLL
      for (int j = 0; j < columns; j += 16) {
        unsigned right[4];
        ldmatrix_x4(right, b + j * stride + e);
        mma_16816(out[j / 8], left, {right[0], right[1]});
        mma_16816(out[j / 8 + 1], left, {right[2], right[3]});
      }
    }
  }

  /// out += weights[16 rows, columns] b[columns, Width]. Since 0 times inf is NaN, only columns with
  /// counts(row, column) take part if b is not finite.
  template <class Counts>
  __device__ __forceinline__ void add_weighted(const scores& weights, const bfloat16* b, bool finite, Counts counts,
                                               mixed& out) const {
    if (!finite) return add_what_counts(weights, b, counts, out);
    b += lane % 16 * stride + lane / 16 * 8;
    STRATA_UNROLL
    for (int j = 0; j < columns; j += 16) {
      const auto& near = weights[j / 8];
      const auto& far = weights[j / 8 + 1];
      const unsigned left[4] = {round_to_bfloat16(near[0], near[1]), round_to_bfloat16(near[2], near[3]),
                                round_to_bfloat16(far[0], far[1]), round_to_bfloat16(far[2], far[3])};
      STRATA_UNROLL
      for (int e = 0; e < Width; e += 16) {
        unsigned right[4];
        ldmatrix_x4_transposed(right, b + j * stride + e);
        mma_16816(out[e / 8], left, {right[0], right[1]});
        mma_16816(out[e / 8 + 1], left, {right[2], right[3]});
      }
    }
  }

  /// Multiplies this lane's row r by `factor`.
  __device__ __forceinline__ static void scale(int r, float factor, mixed& out) {
    STRATA_UNROLL
    for (int part = 0; part < Width / 8; ++part) STRATA_UNROLL
    for (int c = 0; c < 2; ++c) out[part][2 * r + c] *= factor;
  }

 private:
  /// to[e], .. = x, rounded, without channels past the last. Returns whether the results are finite.
  __device__ __forceinline__ static bool put_rounded(const fours& half, bfloat16* to, int e, const float4& x) {
    const unsigned low = round_to_bfloat16(x.x, x.y), high = round_to_bfloat16(x.z, x.w);
    if (half.wide) {
      *reinterpret_cast<uint2*>(to + e) = make_uint2(low, high);
    } else {
      STRATA_UNROLL
      for (int k = 0; k < 4; ++k)
        if (e + k < half.columns) to[e + k].bits = static_cast<std::uint16_t>((k < 2 ? low : high) >> (k % 2 * 16));
    }
    const auto finite = [](unsigned both) {
      return (both & 0x7f80u) != 0x7f80u && (both & 0x7f800000u) != 0x7f800000u;
    };
    return finite(low) && finite(high);
  }
  /// One column at a time; another lane of the same rows has its weights.
  template <class Counts>
  __device__ __forceinline__ void add_what_counts(const scores& weights, const bfloat16* b, Counts counts,
                                                  mixed& out) const {
    STRATA_UNROLL
    for (int part = 0; part < columns / 8; ++part)
      for (int k = 0; k < 8; ++k) {
        const int source = lane - lane % lanes_a_row + k / 2, j = part * 8 + k;
        STRATA_UNROLL
        for (int r = 0; r < 2; ++r) {
          const float weight =
              __shfl_sync(all_lanes, k % 2 == 0 ? weights[part][2 * r] : weights[part][2 * r + 1], source);
          if (!counts(row(r), j)) continue;
          STRATA_UNROLL
          for (int channels = 0; channels < Width / 8; ++channels) STRATA_UNROLL
          for (int c = 0; c < 2; ++c)
            out[channels][2 * r + c] +=
                weight * __uint_as_float(unsigned{b[j * stride + column(channels, c)].bits} << 16);
        }
      }
  }
};

/// Blocks of as many columns as registers allow.
template <int Width>
using tensor_forward_tile = tensor_tile<Width, 64>;
template <int Width>
using tensor_backward_tile = tensor_tile<Width, Width <= 64 ? 64 : 32>;

/// Blocks: [tasks, tiles of queries]. Without the 1 the compiler spills registers to fit more blocks.
template <int Width>
__global__ void __launch_bounds__(tensor_forward_tile<Width>::threads, 1)
    attention_tensor_kernel(attention_arguments own, const float* qkv, float* y, float* log_sum_exp) {
  using tile = tensor_forward_tile<Width>;
  STRATA_DYNAMIC_SHARED(bfloat16, queries);
  bfloat16* const keys = queries + tile::row_numbers;
  bfloat16* const values = keys + tile::column_numbers;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * tile::rows;  // most keys first
  if (first >= sequence.count) return;
  const tile me;
  const index_range queries_of_warp = me.rows_of_warp(first);

  tile::template load<tile::rows>(sequence, sequence.queries_of(qkv), first, queries);
  typename tile::mixed mixed{};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};  // of base-2 scores
  const float factor = own.scale * log2_of_e;
  const int end = min(first + tile::rows, sequence.count);
  for (int from = max(first - own.span + 1, 0); from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last keys and values
    tile::template load<tile::columns>(sequence, sequence.keys_of(qkv), from, keys);
    const bool finite = tile::template load<tile::columns>(sequence, sequence.values_of(qkv), from, values);
    const bool all_finite = __syncthreads_and(finite) != 0;
    const index_range keys_of_block{from, tile::columns};
    if (!own.sees_some(queries_of_warp, keys_of_block) || queries_of_warp.first >= sequence.count) continue;
    const bool all_seen = own.sees_all(queries_of_warp, keys_of_block);
    const auto seen = [&](int row, int column) { return own.sees(first + row, from + column); };
    typename tile::scores score;
    me.multiply(queries, keys, sequence.head_dim, score);
    STRATA_UNROLL
    for (int r = 0; r < 2; ++r) {
      float most = largest[r];
      STRATA_UNROLL
      for (int part = 0; part < tile::columns / 8; ++part) STRATA_UNROLL
      for (int c = 0; c < 2; ++c) {
        float& entry = score[part][2 * r + c];
        entry = all_seen || seen(me.row(r), me.column(part, c)) ? entry * factor : -INFINITY;
        most = fmaxf(most, entry);
      }
      most = row_max<tile::lanes_a_row>(most);
      const float base = exponent_base(most), correction = exp2f(largest[r] - base);
      largest[r] = most;
      sum[r] *= correction;
      tile::scale(r, correction, mixed);
      STRATA_UNROLL
      for (int part = 0; part < tile::columns / 8; ++part) STRATA_UNROLL
      for (int c = 0; c < 2; ++c) sum[r] += score[part][2 * r + c] = exp2f(score[part][2 * r + c] - base);
    }
    me.add_weighted(score, values, all_finite, seen, mixed);
  }

  STRATA_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float total = row_sum<tile::lanes_a_row>(sum[r]);
    tile::scale(r, 1 / total, mixed);
    const int query = first + me.row(r);
    if (me.lane % tile::lanes_a_row == 0 && query < sequence.count)
      log_sum_exp[sequence.in_heads(query)] = (largest[r] + log2f(total)) * log_of_2;
  }
  __syncthreads();  // all threads are done with queries, keys and values
  me.store(mixed, sequence, first, sequence.of(y), reinterpret_cast<float*>(queries));
}

/// dquery, and along[B,H,n]: per query the sum over keys of weight times its gradient. Blocks: [tasks, tiles of
/// queries].
template <int Width>
__global__ void __launch_bounds__(tensor_backward_tile<Width>::threads)
    attention_tensor_backward_query_kernel(attention_arguments own, const float* qkv, const float* y,
                                           const float* log_sum_exp, const float* dy, float* along, float* dqkv) {
  using tile = tensor_backward_tile<Width>;
  STRATA_DYNAMIC_SHARED(bfloat16, queries);
  bfloat16* const slopes = queries + tile::row_numbers;
  bfloat16* const keys = slopes + tile::row_numbers;
  bfloat16* const values = keys + tile::column_numbers;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(gridDim.y - 1 - blockIdx.y) * tile::rows;
  if (first >= sequence.count) return;
  const tile me;
  const index_range queries_of_warp = me.rows_of_warp(first);

  tile::template load<tile::rows>(sequence, sequence.queries_of(qkv), first, queries);
  tile::template load<tile::rows>(sequence, sequence.of(dy), first, slopes);
  const head_rows<const float> results = sequence.of(y), gradients = sequence.of(dy);
  float normaliser[2], own_along[2];
  STRATA_UNROLL
  for (int r = 0; r < 2; ++r) {
    const int query = first + me.row(r);
    const bool exists = query < sequence.count;
    float sum = 0;
    for (int e = 4 * (me.lane % tile::lanes_a_row); e < own.half.columns && exists; e += 4 * tile::lanes_a_row)
      sum += dot(results.pairs(query, e), gradients.pairs(query, e));
    own_along[r] = row_sum<tile::lanes_a_row>(sum);
    normaliser[r] = exists ? log_sum_exp[sequence.in_heads(query)] * log2_of_e : 0;
    if (me.lane % tile::lanes_a_row == 0 && exists) along[sequence.in_heads(query)] = own_along[r];
  }

  typename tile::mixed dquery{};
  const float factor = own.scale * log2_of_e;
  const int end = min(first + tile::rows, sequence.count);
  for (int from = max(first - own.span + 1, 0); from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last keys and values
    const bool finite = tile::template load<tile::columns>(sequence, sequence.keys_of(qkv), from, keys);
    tile::template load<tile::columns>(sequence, sequence.values_of(qkv), from, values);
    const bool all_finite = __syncthreads_and(finite) != 0;
    const index_range keys_of_block{from, tile::columns};
    if (!own.sees_some(queries_of_warp, keys_of_block) || queries_of_warp.first >= sequence.count) continue;
    const bool all_seen = own.sees_all(queries_of_warp, keys_of_block);
    const auto seen = [&](int row, int column) { return own.sees(first + row, from + column); };
    typename tile::scores score, dscore;
    me.multiply(queries, keys, sequence.head_dim, score);
    me.multiply(slopes, values, sequence.head_dim, dscore);
    STRATA_UNROLL
    for (int part = 0; part < tile::columns / 8; ++part) STRATA_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int r = n / 2;
      dscore[part][n] =
          all_seen || seen(me.row(r), me.column(part, n % 2))
              ? exp2f(score[part][n] * factor - normaliser[r]) * (dscore[part][n] - own_along[r]) * own.scale
              : 0;
    }
    me.add_weighted(dscore, keys, all_finite, seen, dquery);
  }
  __syncthreads();  // all threads are done with queries, keys and values
  me.store(dquery, sequence, first, sequence.queries_of(dqkv), reinterpret_cast<float*>(queries));
}

/// dkey and dvalue. Blocks: [tasks, tiles of keys].
template <int Width>
__global__ void __launch_bounds__(tensor_backward_tile<Width>::threads)
    attention_tensor_backward_key_kernel(attention_arguments own, const float* qkv, const float* log_sum_exp,
                                         const float* dy, const float* along, float* dqkv) {
  using tile = tensor_backward_tile<Width>;
  STRATA_DYNAMIC_SHARED(bfloat16, keys);
  bfloat16* const values = keys + tile::row_numbers;
  bfloat16* const queries = values + tile::row_numbers;
  bfloat16* const slopes = queries + tile::column_numbers;
  float* const normaliser = reinterpret_cast<float*>(slopes + tile::column_numbers);
  float* const along_of = normaliser + tile::columns;
  const attention_sequence sequence(own, blockIdx.x);
  const int first = static_cast<int>(blockIdx.y) * tile::rows;
  if (first >= sequence.count) return;
  const tile me;
  const index_range keys_of_warp = me.rows_of_warp(first);

  tile::template load<tile::rows>(sequence, sequence.keys_of(qkv), first, keys);
  tile::template load<tile::rows>(sequence, sequence.values_of(qkv), first, values);
  typename tile::mixed dkey{}, dvalue{};
  const float factor = own.scale * log2_of_e;
  const int end = min(first + tile::rows - 1 + own.span, sequence.count);
  for (int from = first; from < end; from += tile::columns) {
    __syncthreads();  // all threads are done with the last queries
    bool finite = tile::template load<tile::columns>(sequence, sequence.queries_of(qkv), from, queries);
    finite = tile::template load<tile::columns>(sequence, sequence.of(dy), from, slopes) && finite;
    for (int j = static_cast<int>(threadIdx.x); j < tile::columns; j += tile::threads) {
      const bool exists = from + j < sequence.count;
      normaliser[j] = exists ? log_sum_exp[sequence.in_heads(from + j)] * log2_of_e : 0;
      along_of[j] = exists ? along[sequence.in_heads(from + j)] : 0;
    }
    const bool all_finite = __syncthreads_and(finite) != 0;
    const index_range queries_of_block{from, tile::columns};
    if (!own.sees_some(queries_of_block, keys_of_warp) || keys_of_warp.first >= sequence.count) continue;
    const bool all_seen = own.sees_all(queries_of_block, keys_of_warp);
    const auto seen = [&](int row, int column) { return own.sees(from + column, first + row); };
    typename tile::scores weight, dscore;
    me.multiply(keys, queries, sequence.head_dim, weight);
    STRATA_UNROLL
    for (int part = 0; part < tile::columns / 8; ++part) STRATA_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int column = me.column(part, n % 2);
      weight[part][n] =
          all_seen || seen(me.row(n / 2), column) ? exp2f(weight[part][n] * factor - normaliser[column]) : 0;
    }
    me.add_weighted(weight, slopes, all_finite, seen, dvalue);
    me.multiply(values, slopes, sequence.head_dim, dscore);
    STRATA_UNROLL
    for (int part = 0; part < tile::columns / 8; ++part) STRATA_UNROLL
    for (int n = 0; n < 4; ++n) {
      const int column = me.column(part, n % 2);
      dscore[part][n] = all_seen || seen(me.row(n / 2), column)
                            ? weight[part][n] * (dscore[part][n] - along_of[column]) * own.scale
                            : 0;
    }
    me.add_weighted(dscore, queries, all_finite, seen, dkey);
  }
  __syncthreads();  // all threads are done with keys, values and queries
  float* const staging = reinterpret_cast<float*>(keys);
  me.store(dkey, sequence, first, sequence.keys_of(dqkv), staging);
  me.store(dvalue, sequence, first, sequence.values_of(dqkv), staging);
}

}  // namespace strata::device
