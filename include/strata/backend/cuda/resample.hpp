// unfold, window_mean, repeat, subsample, take_columns, depthwise between levels, and their gradients, which threads
// gather; the token shift of one step, and the last positions that later steps need.
// Shapes: tokens [B,T,D] <-> level positions [B,n,D]; level position i is at token i stride.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

__device__ __forceinline__ index_type divided_up(index_type x, index_type by) { return (x + by - 1) / by; }

/// Positions of a level. The window of position i is the `compression` tokens that end at first + i stride.
struct windows {
  index_type tokens, positions, dim;
  int compression, stride;
  index_type first;
  __device__ __forceinline__ index_type start(index_type i) const { return first + i * stride - (compression - 1); }
  /// Token t is in the windows of positions first_with(t) to end_with(t) - 1.
  __device__ __forceinline__ index_type first_with(index_type t) const {
    return t <= first ? 0 : divided_up(t - first, stride);
  }
  __device__ __forceinline__ index_type end_with(index_type t) const {
    const index_type ahead = t - first + compression - 1;
    return ahead < 0 ? 0 : min(ahead / stride + 1, positions);
  }
  /// How many tokens of the text are in the window of i, if first is 0.
  __device__ __forceinline__ float count(index_type i) const {
    return static_cast<float>(min(static_cast<index_type>(compression), i * stride + 1));
  }
};

/// Four channels of four tokens. In rows [D,c] the c tokens of a channel are neighbours.
struct token_block {
  float4 tokens[4];

  __device__ __forceinline__ token_block transposed() const {
    const auto& [a, b, c, d] = tokens;
    return {make_float4(a.x, b.x, c.x, d.x), make_float4(a.y, b.y, c.y, d.y), make_float4(a.z, b.z, c.z, d.z),
            make_float4(a.w, b.w, c.w, d.w)};
  }
};
struct window_rows {
  windows shape;
  fours channel;  ///< the tokens of one channel
  fours row;
  window_rows(const windows& own, const float* rows)
      : shape(own), channel(own.compression, {}, {rows}), row(own.dim * own.compression, {}, {rows}) {}

  /// Tokens first, first + 1, .. of channels d, d + 1, .. <-> the row `own`. With one or two tokens per channel, 16
  /// bytes hold several channels.
  __device__ __forceinline__ void store(float* own, index_type d, int first, const token_block& block) const {
    const auto& [a, b, c, e] = block.tokens;
    if (shape.compression == 1) return row.store(own, d, a);
    if (shape.compression == 2) {
      row.store(own, 2 * d, make_float4(a.x, b.x, a.y, b.y));
      if (2 * d + 4 < row.columns) row.store(own, 2 * d + 4, make_float4(a.z, b.z, a.w, b.w));
      return;
    }
    const token_block channels = block.transposed();
    STRATA_UNROLL
    for (int k = 0; k < 4; ++k)
      if (d + k < shape.dim) channel.store(own + (d + k) * shape.compression, first, channels.tokens[k]);
  }
  __device__ __forceinline__ token_block load(const float* own, index_type d, int first) const {
    token_block block{};
    auto& [a, b, c, e] = block.tokens;
    if (shape.compression == 1) {
      a = row.load(own, d);
      return block;
    }
    if (shape.compression == 2) {
      const float4 low = row.load(own, 2 * d);
      const float4 high = 2 * d + 4 < row.columns ? row.load(own, 2 * d + 4) : make_float4(0, 0, 0, 0);
      a = make_float4(low.x, low.z, high.x, high.z);
      b = make_float4(low.y, low.w, high.y, high.w);
      return block;
    }
    STRATA_UNROLL
    for (int k = 0; k < 4; ++k)
      if (d + k < shape.dim) block.tokens[k] = channel.load(own + (d + k) * shape.compression, first);
    return block.transposed();
  }
};

struct unfold_fours {
  window_rows rows;
  const float* x;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    const windows& shape = rows.shape;
    const index_type b = row / shape.positions, start = shape.start(row % shape.positions);
    for (int first = 0; first < shape.compression; first += 4) {
      token_block block{};
      STRATA_UNROLL
      for (int j = 0; j < 4; ++j) {
        const index_type t = start + first + j;
        if (first + j < shape.compression && t >= 0 && t < shape.tokens)
          block.tokens[j] = memory.load(x + (b * shape.tokens + t) * shape.dim, d);
      }
      rows.store(y + row * shape.dim * shape.compression, d, first, block);
    }
  }
};
/// A thread has four tokens. They are one block of a window if the stride is a multiple of four.
struct unfold_backward_fours {
  window_rows rows;
  const float* dy;
  float* dx;
  fours memory;
  index_type groups;  ///< of four tokens; the first may begin before the text

  unfold_backward_fours(const window_rows& own, const float* from, const view<float, 3>& to)
      : rows(own), dy(from), dx(to.data), memory(own.shape.dim, {}, {to.data}), groups((to.shape[1] + 6) / 4) {}

  __device__ __forceinline__ void operator()(index_type group, index_type d) const {
    const windows& shape = rows.shape;
    const index_type b = group / groups;
    const index_type begin = 4 * (group % groups) - 3 + ((shape.first - shape.compression) & 3);
    const index_type own_end = min(begin + 4, shape.tokens), end = shape.end_with(own_end - 1);
    float4 sum[4] = {};
    for (index_type i = shape.first_with(max(begin, index_type{0})); i < end; ++i) {
      const float* const row = dy + (b * shape.positions + i) * shape.dim * shape.compression;
      const index_type start = shape.start(i), last = min(static_cast<index_type>(shape.compression), own_end - start);
      for (int first = static_cast<int>(max(begin - start, index_type{0})) & ~3; first < last; first += 4) {
        const token_block block = rows.load(row, d, first);
        const int ahead = static_cast<int>(start + first - begin);
        STRATA_UNROLL
        for (int j = 0; j < 4; ++j) STRATA_UNROLL
        for (int own = 0; own < 4; ++own)
          sum[own] = sum_of_fours(sum[own], ahead + j == own ? block.tokens[j] : make_float4(0, 0, 0, 0));
      }
    }
    STRATA_UNROLL
    for (int own = 0; own < 4; ++own)
      if (begin + own >= 0 && begin + own < own_end)
        memory.put(dx + (b * shape.tokens + begin + own) * shape.dim, d, sum[own], true);
  }
};

struct window_mean_fours {
  windows shape;
  const float* x;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    const index_type b = row / shape.positions, i = row % shape.positions, last = i * shape.stride;
    const float share = 1 / shape.count(i);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index_type t = max(index_type{0}, shape.start(i)); t <= last; ++t)
      sum = sum_of_fours(sum, memory.load(x + (b * shape.tokens + t) * shape.dim, d));
    memory.store(y + row * shape.dim, d, map_four([=](float own) { return own * share; }, sum));
  }
};
struct window_mean_backward_fours {
  windows shape;
  const float* dy;
  float* dx;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    const index_type b = row / shape.tokens, t = row % shape.tokens, end = shape.end_with(t);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index_type i = shape.first_with(t); i < end; ++i) {
      const float share = 1 / shape.count(i);
      const float4 own = memory.load(dy + (b * shape.positions + i) * shape.dim, d);
      sum = sum_of_fours(sum, map_four([=](float upper) { return upper * share; }, own));
    }
    memory.put(dx + row * shape.dim, d, sum, true);
  }
};

/// The columns of x[B,n,..] that are copied to y[B,m,..]. repeat and subsample are such copies, too.
struct met_columns {
  column_range range;
  index_type length, width;        ///< of x
  index_type to_length, to_width;  ///< of y
};
struct take_fours {
  met_columns shape;
  const float* x;
  float* y;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type column) const {
    const column_range& range = shape.range;
    const index_type b = row / shape.to_length, i = row % shape.to_length;
    const index_type from = b * shape.length + i * range.to_stride / range.from_stride;
    memory.put(y + row * shape.to_width + range.to_column, column,
               memory.load(x + from * shape.width + range.from_column, column), add);
  }
};
struct take_backward_fours {
  met_columns shape;
  const float* dy;
  float* dx;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type column) const {
    const column_range& range = shape.range;
    const index_type b = row / shape.length, j = row % shape.length;
    // Positions of y with j = i to_stride / from_stride.
    const index_type end = min(divided_up((j + 1) * range.from_stride, range.to_stride), shape.to_length);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index_type i = divided_up(j * range.from_stride, range.to_stride); i < end; ++i)
      sum = sum_of_fours(sum, memory.load(dy + (b * shape.to_length + i) * shape.to_width + range.to_column, column));
    memory.put(dx + row * shape.width + range.from_column, column, sum, add);
  }
};

/// Access to the columns of `range` in x and y, or in their gradients.
inline fours memory_of(const met_columns& shape, const float* x, const float* y) {
  return {shape.range.width, {shape.width, shape.to_width, shape.range.from_column, shape.range.to_column}, {x, y}};
}
inline void take(cuda& backend, const view<const float, 3>& x, const column_range& range, const view<float, 3>& y,
                 update mode) {
  const met_columns shape{range, x.shape[1], x.shape[2], y.shape[1], y.shape[2]};
  for_each_four_in_rows(backend, y.shape[0] * y.shape[1], range.width,
                        take_fours{shape, x.data, y.data, mode == update::add, memory_of(shape, x.data, y.data)});
}
inline void take_backward(cuda& backend, const view<const float, 3>& dy, const column_range& range,
                          const view<float, 3>& dx, update mode) {
  const met_columns shape{range, dx.shape[1], dx.shape[2], dy.shape[1], dy.shape[2]};
  for_each_four_in_rows(
      backend, dx.shape[0] * dx.shape[1], range.width,
      take_backward_fours{shape, dy.data, dx.data, mode == update::add, memory_of(shape, dx.data, dy.data)});
}

struct depthwise_shape {
  index_type tokens, positions, dim, stride;
};
struct depthwise_fours {
  depthwise_shape shape;
  const float* x;
  const float* weight;
  const float* bias;  ///< may be null
  float* y;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    const index_type b = row / shape.tokens, i = row % shape.tokens / shape.stride;
    const float4 shift = bias == nullptr ? make_float4(0, 0, 0, 0) : memory.load(bias, d);
    memory.put(y + row * shape.dim, d,
               map_four([](float w, float own, float c) { return w * own + c; }, memory.load(weight, d),
                        memory.load(x + (b * shape.positions + i) * shape.dim, d), shift),
               add);
  }
};
/// dx, and what each position adds to dweight and to dbias.
struct depthwise_backward_fours {
  depthwise_shape shape;
  const float* x;
  const float* weight;
  const float* dy;
  float* dx;
  fours memory;
  __device__ __forceinline__ two_fours operator()(index_type row, index_type d) const {
    constexpr auto multiply = [](float a, float b) { return a * b; };
    const index_type b = row / shape.positions, first = row % shape.positions * shape.stride;
    const index_type end = min(first + shape.stride, shape.tokens);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index_type t = first; t < end; ++t)
      sum = sum_of_fours(sum, memory.load(dy + (b * shape.tokens + t) * shape.dim, d));
    memory.put(dx + row * shape.dim, d, map_four(multiply, memory.load(weight, d), sum), true);
    return {map_four(multiply, memory.load(x + row * shape.dim, d), sum), sum};
  }
};

/// Copies rows start, start + apart, .. of each text [n,..] to slots number, number + 1, .. of its ring [span,D].
struct keep_fours {
  const float* x;
  index_type length, width, column, start, apart;
  index_type kept, number;
  float* ring;
  index_type span;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type d) const {
    const index_type b = row / kept, n = row % kept;
    memory.store(ring + (b * span + (number + n) % span) * memory.columns, d,
                 memory.load(x + (b * length + start + n * apart) * width + column, d));
  }
};

struct shift_step_fours {
  const float* x;
  float* previous;
  float* y;
  fours memory;
  __device__ __forceinline__ void operator()(index_type b, index_type d) const {
    const index_type dim = memory.columns, kept = (dim + 1) / 2;
    const float4 now = memory.load(x + b * dim, d), before = memory.load(previous + b * dim, d);
    memory.store(y + b * dim, d,
                 make_float4(d < kept ? now.x : before.x, d + 1 < kept ? now.y : before.y,
                             d + 2 < kept ? now.z : before.z, d + 3 < kept ? now.w : before.w));
    memory.store(previous + b * dim, d, now);
  }
};

}  // namespace device

inline void unfold(cuda& backend, input<float, 3> x, int compression, int stride, index_type first,
                   output<float, 3> y) {
  const auto [batch, tokens, dim] = x.shape;
  const device::window_rows rows({tokens, y.shape[1], dim, compression, stride, first}, y.data);
  device::for_each_four_in_rows(backend, batch * y.shape[1], dim,
                                device::unfold_fours{rows, x.data, y.data, device::fours(dim, {}, {x.data})});
}
inline void unfold_backward(cuda& backend, input<float, 3> dy, int compression, int stride, index_type first,
                            output<float, 3> dx) {
  const auto [batch, tokens, dim] = dx.shape;
  const device::window_rows rows({tokens, dy.shape[1], dim, compression, stride, first}, dy.data);
  const device::unfold_backward_fours action(rows, dy.data, dx);
  device::for_each_four_in_rows(backend, batch * action.groups, dim, action);
}

inline void window_mean(cuda& backend, input<float, 3> x, int compression, int stride, output<float, 3> y) {
  const auto [batch, positions, dim] = y.shape;
  device::for_each_four_in_rows(backend, batch * positions, dim,
                                device::window_mean_fours{{x.shape[1], positions, dim, compression, stride, 0},
                                                          x.data,
                                                          y.data,
                                                          device::fours(dim, {}, {x.data, y.data})});
}
inline void window_mean_backward(cuda& backend, input<float, 3> dy, int compression, int stride, output<float, 3> dx) {
  const auto [batch, tokens, dim] = dx.shape;
  device::for_each_four_in_rows(backend, batch * tokens, dim,
                                device::window_mean_backward_fours{{tokens, dy.shape[1], dim, compression, stride, 0},
                                                                   dy.data,
                                                                   dx.data,
                                                                   device::fours(dim, {}, {dy.data, dx.data})});
}

inline void take_columns(cuda& backend, input<float, 3> x, const column_range& range, output<float, 3> y) {
  device::take(backend, x, range, y, update::replace);
}
inline void take_columns_backward(cuda& backend, input<float, 3> dy, const column_range& range, output<float, 3> dx) {
  device::take_backward(backend, dy, range, dx, update::add);
}
inline void repeat(cuda& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  device::take(backend, x, {stride, 0, 1, column, x.shape[2]}, y, update::replace);
}
inline void repeat_backward(cuda& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  device::take_backward(backend, dy, {stride, 0, 1, column, dx.shape[2]}, dx, update::add);
}
inline void subsample(cuda& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  device::take(backend, x, {1, column, stride, 0, y.shape[2]}, y, update::add);
}
inline void subsample_backward(cuda& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  device::take_backward(backend, dy, {1, column, stride, 0, dy.shape[2]}, dx, update::replace);
}

inline void depthwise(cuda& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 1> bias,
                      output<float, 3> y, update mode) {
  const auto [batch, tokens, dim] = y.shape;
  device::for_each_four_in_rows(
      backend, batch * tokens, dim,
      device::depthwise_fours{{tokens, x.shape[1], dim, stride},
                              x.data,
                              weight.data,
                              bias.data,
                              y.data,
                              mode == update::add,
                              device::fours(dim, {}, {x.data, weight.data, bias.data, y.data})});
}
inline void depthwise_backward(cuda& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 3> dy,
                               output<float, 3> dx, output<float, 1> dweight, output<float, 1> dbias) {
  const auto [batch, positions, dim] = dx.shape;
  device::add_column_sums(
      backend, batch * positions, dim,
      device::depthwise_backward_fours{{dy.shape[1], positions, dim, stride},
                                       x.data,
                                       weight.data,
                                       dy.data,
                                       dx.data,
                                       device::fours(dim, {}, {x.data, weight.data, dy.data, dx.data})},
      dweight.data, dbias.data);
}

inline void keep_last(cuda& backend, input<float, 3> x, int sequence, int dilation, index_type column,
                      output<float, 3> ring) {
  const auto [batch, span, dim] = ring.shape;
  const index_type count = (x.shape[1] - sequence + dilation - 1) / dilation,
                   first = std::max<index_type>(0, count - span);
  const index_type kept = std::max<index_type>(0, count - first);
  device::for_each_four_in_rows(backend, batch * kept, dim,
                                device::keep_fours{.x = x.data,
                                                   .length = x.shape[1],
                                                   .width = x.shape[2],
                                                   .column = column,
                                                   .start = sequence + first * dilation,
                                                   .apart = dilation,
                                                   .kept = kept,
                                                   .number = first,
                                                   .ring = ring.data,
                                                   .span = span,
                                                   .memory = {dim, {x.shape[2], column}, {x.data, ring.data}}});
}
inline void keep_row(cuda& backend, input<float, 2> x, index_type position, output<float, 3> ring) {
  const auto [batch, span, dim] = ring.shape;
  device::for_each_four_in_rows(backend, batch, dim,
                                device::keep_fours{.x = x.data,
                                                   .length = 1,
                                                   .width = dim,
                                                   .column = 0,
                                                   .start = 0,
                                                   .apart = 1,
                                                   .kept = 1,
                                                   .number = position,
                                                   .ring = ring.data,
                                                   .span = span,
                                                   .memory = {dim, {}, {x.data, ring.data}}});
}

inline void shift_step(cuda& backend, input<float, 2> x, output<float, 2> previous, output<float, 2> y) {
  const device::fours memory(x.shape[1], {}, {x.data, previous.data, y.data});
  device::for_each_four_in_rows(backend, x.shape[0], x.shape[1],
                                device::shift_step_fours{x.data, previous.data, y.data, memory});
}

}  // namespace strata
