// Attention across two sequences, its gradient and one step of it.
// Shapes: query [B nq, H E], key_value [B nk, 2 H E], bias [H,span] -> y [B nq, H E], log_sum_exp [B,H,nq].
// Source: FlashAttention, arXiv 2205.14135 (log_sum_exp merges softmaxes over parts of the keys). The lanes that share
// a row compute one query-key pair at a time. Each gradient has a kernel, which computes all pairs again.
#pragma once

#include <algorithm>

#include <strata/backend/cuda/attention.hpp>
#include <strata/backend/cuda/context.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The keys that one query sees: the key at distance d is row newest - d of a text, which may be a ring.
struct seen_keys {
  index_type newest, count;
};
/// The keys of a ring, the same for all queries.
struct keys_of_ring {
  seen_keys all;
  __device__ __forceinline__ seen_keys operator()(index_type) const { return all; }
};
/// The keys of query i of a sequence.
struct keys_of_sequence {
  cross_attention_shape shape;
  __device__ __forceinline__ seen_keys operator()(index_type query) const {
    const index_type at_or_before = query * shape.query_stride / shape.key_stride;
    const index_type newest = at_or_before < shape.keys ? at_or_before : shape.keys - 1;
    return {newest, newest < shape.span ? newest + 1 : shape.span};
  }
  /// The first query whose newest key is `key` or later; shape.queries if there is none.
  __device__ __forceinline__ index_type first_query(index_type key) const {
    const index_type first = (key * shape.key_stride + shape.query_stride - 1) / shape.query_stride;
    return key < shape.keys && first < shape.queries ? first : shape.queries;
  }
};

/// The position of a block in a grid of [outer,inner] blocks, and a thread's group of row lanes.
struct pairs_index {
  int group;
  index_type outer, inner;
  __device__ __forceinline__ static pairs_index in(index_type inner_count) {
    const index_type block = blockIdx.x;
    return {group_of_lanes(), block / inner_count, block % inner_count};
  }
};

/// to[E] += factor times the sum over a block's groups of row lanes.
template <int Width, int Threads>
__device__ void add_parts(const lane_channels<Width>& own, row_parts<Width, Threads / row_lanes>& parts, float factor,
                          const fours& memory, float* to) {
  __syncthreads();  // other threads may still read parts
  parts.put(own);
  __syncthreads();
  for (index_type e = 4 * static_cast<index_type>(threadIdx.x); e < memory.columns; e += 4 * Threads)
    memory.put(to, e, parts.sum(e, [=](int) { return factor; }), true);
}

/// One block per query and head: [B nq, H] blocks. `rows`: the keys of a text, or the slots of a ring.
template <int Width, int Threads, class Keys>
__global__ void cross_attention_kernel(cross_attention_shape shape, Keys keys, index_type rows, float scale,
                                       fours memory, const float* query, const float* key_value, const float* bias,
                                       float* y, float* log_sum_exp, bool add) {
  constexpr int groups = Threads / row_lanes;
  const int head_dim = shape.head_dim;
  const index_type dim = static_cast<index_type>(shape.heads) * head_dim;
  const auto [group, row, head] = pairs_index::in(shape.heads);
  const index_type b = row / shape.queries, i = row % shape.queries, channel = head * head_dim;
  const seen_keys seen = keys(i);
  const auto own = lane_channels<Width>::load(query + row * dim + channel, memory);
  softmax_part<Width> part;
  for (index_type from = 0; from < seen.count; from += groups) {
    const index_type distance = from + group, j = seen.newest - distance + (seen.newest < distance ? rows : 0);
    const bool exists = distance < seen.count;
    const float* const key = key_value + (b * rows + j) * 2 * dim + channel;
    float score = 0;
    if (exists) score = own.dot(lane_channels<Width>::load(key, memory));
    score = row_sum(score);
    if (exists)
      part.add(score * scale + bias[head * shape.span + distance], lane_channels<Width>::load(key + dim, memory));
  }
  write_softmax<Width, Threads>(part, memory, y + row * dim + channel,
                                log_sum_exp + (b * shape.heads + head) * shape.queries + i, add);
}

/// What all kernels of the backward pass read.
struct cross_attention_inputs {
  cross_attention_shape shape;
  float scale;
  fours memory;
  const float *query, *key_value, *bias, *log_sum_exp, *dy, *along;

  /// Offsets of head `head` in [B nq, H E], [B nk, 2 H E] and [B,H,nq].
  __device__ __forceinline__ index_type in_queries(index_type b, index_type i, index_type head) const {
    return ((b * shape.queries + i) * shape.heads + head) * shape.head_dim;
  }
  __device__ __forceinline__ index_type in_keys(index_type b, index_type j, index_type head) const {
    return ((b * shape.keys + j) * 2 * shape.heads + head) * shape.head_dim;
  }
  __device__ __forceinline__ index_type values_after_keys() const {
    return static_cast<index_type>(shape.heads) * shape.head_dim;
  }
  __device__ __forceinline__ index_type in_heads(index_type b, index_type i, index_type head) const {
    return (b * shape.heads + head) * shape.queries + i;
  }
};

/// The weight of a key for a query, and the gradient of their score.
struct pair_gradient {
  float weight = 0, dscore = 0;

  /// Of the pair whose rows the lanes hold; 0 if it does not exist. Every lane of the warp must call it.
  template <int Width>
  __device__ __forceinline__ static pair_gradient of(const cross_attention_inputs& in, index_type b, index_type i,
                                                     index_type head, index_type distance, bool exists, float along,
                                                     const lane_channels<Width>& query, const lane_channels<Width>& key,
                                                     const lane_channels<Width>& value,
                                                     const lane_channels<Width>& dy) {
    const float dot = row_sum(query.dot(key)), dweight = row_sum(dy.dot(value));
    if (!exists) return {};
    const float score = dot * in.scale + in.bias[head * in.shape.span + distance];
    const float weight = expf(score - in.log_sum_exp[in.in_heads(b, i, head)]);
    return {weight, weight * (dweight - along)};
  }
};

/// dquery, and along[B,H,nq]: per query the sum over keys of weight times its gradient. One block per query and head.
template <int Width, int Threads>
__global__ void cross_attention_backward_query_kernel(cross_attention_inputs in, const float* y, float* along,
                                                      float* dquery) {
  constexpr int groups = Threads / row_lanes;
  using channels = lane_channels<Width>;
  STRATA_SHARED(parts, row_parts<Width, groups>);
  const cross_attention_shape& shape = in.shape;
  const auto [group, row, head] = pairs_index::in(shape.heads);
  const index_type b = row / shape.queries, i = row % shape.queries, at = in.in_queries(b, i, head);
  const seen_keys seen = keys_of_sequence{shape}(i);
  const channels query = channels::load(in.query + at, in.memory);
  const channels dy = channels::load(in.dy + at, in.memory);
  const float own_along = row_sum(dy.dot(channels::load(y + at, in.memory)));
  if (threadIdx.x == 0) along[in.in_heads(b, i, head)] = own_along;
  channels sum;
  for (index_type from = 0; from < seen.count; from += groups) {
    const index_type distance = from + group;
    const bool exists = distance < seen.count;
    channels key, value;
    if (exists) {
      const float* const pair = in.key_value + in.in_keys(b, seen.newest - distance, head);
      key = channels::load(pair, in.memory);
      value = channels::load(pair + in.values_after_keys(), in.memory);
    }
    const auto own = pair_gradient::of(in, b, i, head, distance, exists, own_along, query, key, value, dy);
    if (exists) sum.add(own.dscore, key);
  }
  add_parts<Width, Threads>(sum, parts, in.scale, in.memory, dquery + at);
}

/// dkey_value. One block per key and head.
template <int Width, int Threads>
__global__ void cross_attention_backward_key_kernel(cross_attention_inputs in, float* dkey_value) {
  constexpr int groups = Threads / row_lanes;
  using channels = lane_channels<Width>;
  STRATA_SHARED(parts, row_parts<Width, groups>);
  const cross_attention_shape& shape = in.shape;
  const auto [group, row, head] = pairs_index::in(shape.heads);
  const index_type b = row / shape.keys, j = row % shape.keys, at = in.in_keys(b, j, head);
  const channels key = channels::load(in.key_value + at, in.memory);
  const channels value = channels::load(in.key_value + at + in.values_after_keys(), in.memory);
  const keys_of_sequence keys{shape};
  const index_type end = keys.first_query(j + shape.span);
  channels dkey, dvalue;
  for (index_type from = keys.first_query(j); from < end; from += groups) {
    const index_type i = from + group;
    const bool exists = i < end;
    channels query, dy;
    float along = 0;
    if (exists) {
      query = channels::load(in.query + in.in_queries(b, i, head), in.memory);
      dy = channels::load(in.dy + in.in_queries(b, i, head), in.memory);
      along = in.along[in.in_heads(b, i, head)];
    }
    const auto own = pair_gradient::of(in, b, i, head, keys(i).newest - j, exists, along, query, key, value, dy);
    if (!exists) continue;
    dkey.add(own.dscore, query);
    dvalue.add(own.weight, dy);
  }
  add_parts<Width, Threads>(dkey, parts, in.scale, in.memory, dkey_value + at);
  add_parts<Width, Threads>(dvalue, parts, 1, in.memory, dkey_value + at + in.values_after_keys());
}

/// dbias. One block per head and distance: [H,span] blocks.
template <int Width, int Threads>
__global__ void cross_attention_backward_bias_kernel(cross_attention_inputs in, float* dbias) {
  constexpr int groups = Threads / row_lanes;
  using channels = lane_channels<Width>;
  STRATA_SHARED(slots, float[Threads / warp_size]);
  const cross_attention_shape& shape = in.shape;
  const auto [group, head, distance] = pairs_index::in(shape.span);
  const keys_of_sequence keys{shape};
  const index_type first = keys.first_query(distance), queries = shape.queries - first, count = shape.batch * queries;
  float sum = 0;
  for (index_type from = 0; from < count; from += groups) {
    const bool exists = from + group < count;
    index_type b = 0, i = 0;
    channels query, key, value, dy;
    float along = 0;
    if (exists) {
      b = (from + group) / queries, i = first + (from + group) % queries;
      const float* const pair = in.key_value + in.in_keys(b, keys(i).newest - distance, head);
      query = channels::load(in.query + in.in_queries(b, i, head), in.memory);
      key = channels::load(pair, in.memory);
      value = channels::load(pair + in.values_after_keys(), in.memory);
      dy = channels::load(in.dy + in.in_queries(b, i, head), in.memory);
      along = in.along[in.in_heads(b, i, head)];
    }
    sum += pair_gradient::of(in, b, i, head, distance, exists, along, query, key, value, dy).dscore;
  }
  const float total = block_sum<Threads>(lane_of_row() == 0 ? sum : 0.f, slots);
  if (threadIdx.x == 0) dbias[blockIdx.x] += total;
}

/// The smallest block that can fill a multiprocessor.
inline constexpr int threads_of_pairs = 64;

}  // namespace device

inline void cross_attention(cuda& backend, const cross_attention_shape& shape, input<float, 2> query,
                            input<float, 2> key_value, input<float, 2> bias, output<float, 2> y,
                            output<float, 3> log_sum_exp, update mode) {
  constexpr int threads = device::warp_size;
  device::with_head_width(shape.head_dim, [&](auto width) {
    device::launch(backend, {static_cast<unsigned>(log_sum_exp.size()), threads},
                   device::cross_attention_kernel<width(), threads, device::keys_of_sequence>, shape,
                   device::keys_of_sequence{shape}, shape.keys, device::attention_scale(shape.head_dim),
                   device::fours(shape.head_dim, {}, {query.data, key_value.data, y.data}), query.data, key_value.data,
                   bias.data, y.data, log_sum_exp.data, mode == update::add);
  });
}

inline void cross_attention_backward(cuda& backend, const cross_attention_shape& shape, input<float, 2> query,
                                     input<float, 2> key_value, input<float, 2> bias, input<float, 2> y,
                                     input<float, 3> log_sum_exp, input<float, 2> dy, output<float, 2> dquery,
                                     output<float, 2> dkey_value, output<float, 2> dbias) {
  constexpr int few = device::warp_size, many = device::threads_of_pairs;
  device::with_head_width(shape.head_dim, [&](auto width) {
    float* const along = backend.scratch(log_sum_exp.size());
    const device::cross_attention_inputs in{
        .shape = shape,
        .scale = device::attention_scale(shape.head_dim),
        .memory = {shape.head_dim, {}, {query.data, key_value.data, y.data, dy.data, dquery.data, dkey_value.data}},
        .query = query.data,
        .key_value = key_value.data,
        .bias = bias.data,
        .log_sum_exp = log_sum_exp.data,
        .dy = dy.data,
        .along = along};
    const auto blocks = [](index_type count) { return static_cast<unsigned>(count); };
    device::launch(backend, {blocks(log_sum_exp.size()), few},
                   device::cross_attention_backward_query_kernel<width(), few>, in, y.data, along, dquery.data);
    device::launch(backend, {blocks(shape.batch * shape.keys * shape.heads), many},
                   device::cross_attention_backward_key_kernel<width(), many>, in, dkey_value.data);
    device::launch(backend, {blocks(dbias.size()), many}, device::cross_attention_backward_bias_kernel<width(), many>,
                   in, dbias.data);
  });
}

inline void cross_attention_step(cuda& backend, const cross_attention_shape& shape, index_type count,
                                 input<float, 2> query, input<float, 3> ring, input<float, 2> bias, output<float, 2> y,
                                 output<float, 3> log_sum_exp, update mode) {
  constexpr int threads = device::threads_of_steps;
  cross_attention_shape one = shape;  // one query of each text
  one.queries = 1;
  const device::keys_of_ring keys{{(count - 1) % shape.span, std::min(count, shape.span)}};
  device::with_head_width(shape.head_dim, [&](auto width) {
    device::launch(backend, {static_cast<unsigned>(shape.batch * shape.heads), threads},
                   device::cross_attention_kernel<width(), threads, device::keys_of_ring>, one, keys, shape.span,
                   device::attention_scale(shape.head_dim),
                   device::fours(shape.head_dim, {}, {query.data, ring.data, y.data}), query.data, ring.data, bias.data,
                   y.data, log_sum_exp.data, mode == update::add);
  });
}

}  // namespace strata
