// What moves between levels: unfold, window_mean, repeat, subsample, take_columns, depthwise and their gradients, which
// threads gather; the token shift of one step, and the last positions that later steps need.
// Shapes: tokens [B,T,D] <-> level positions [B,n,D]; level position i stands at token i stride.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata {
namespace device {

__device__ __forceinline__ index divided_up(index x, index by) { return (x + by - 1) / by; }

/// Positions of a level, each with the window of the `compression` tokens that end at first + i stride.
struct windows {
  index tokens, positions, dim;
  int compression, stride;
  index first;
  __device__ __forceinline__ index start(index i) const { return first + i * stride - (compression - 1); }
  /// The positions whose windows hold token t: those from first_with(t) on, up to before end_with(t).
  __device__ __forceinline__ index first_with(index t) const { return t <= first ? 0 : divided_up(t - first, stride); }
  __device__ __forceinline__ index end_with(index t) const {
    const index ahead = t - first + compression - 1;
    return ahead < 0 ? 0 : min(ahead / stride + 1, positions);
  }
  /// How many tokens of the text the window of i has, where first is 0.
  __device__ __forceinline__ float count(index i) const {
    return static_cast<float>(min(static_cast<index>(compression), i * stride + 1));
  }
};

struct unfold_element {
  windows shape;
  const float* x;
  float* y;
  __device__ __forceinline__ void operator()(index row, index column) const {
    const index b = row / shape.positions, i = row % shape.positions;
    const index d = column / shape.compression, t = shape.start(i) + column % shape.compression;
    y[row * shape.dim * shape.compression + column] =
        t < 0 || t >= shape.tokens ? 0.f : x[(b * shape.tokens + t) * shape.dim + d];
  }
};
/// What token t has of the gradient of position i.
struct unfold_share {
  const float* dy;
  __device__ __forceinline__ float operator()(const windows& shape, index b, index i, index t, index d) const {
    return dy[((b * shape.positions + i) * shape.dim + d) * shape.compression + t - shape.start(i)];
  }
};
struct window_mean_share {
  const float* dy;
  __device__ __forceinline__ float operator()(const windows& shape, index b, index i, index, index d) const {
    return dy[(b * shape.positions + i) * shape.dim + d] / shape.count(i);
  }
};
template <class Share>
struct windows_backward_element {
  windows shape;
  Share share;
  float* dx;
  __device__ __forceinline__ void operator()(index row, index d) const {
    const index b = row / shape.tokens, t = row % shape.tokens, end = shape.end_with(t);
    float sum = 0;
    for (index i = shape.first_with(t); i < end; ++i) sum += share(shape, b, i, t, d);
    dx[row * shape.dim + d] += sum;
  }
};
template <class Share>
void windows_backward(cuda& backend, int compression, int stride, index first, const Share& share, index positions,
                      const view<float, 3>& dx) {
  const auto [batch, tokens, dim] = dx.shape;
  for_each_in_rows(
      backend, batch * tokens, dim,
      windows_backward_element<Share>{{tokens, positions, dim, compression, stride, first}, share, dx.data});
}

struct window_mean_element {
  windows shape;
  const float* x;
  float* y;
  __device__ __forceinline__ void operator()(index row, index d) const {
    const index b = row / shape.positions, i = row % shape.positions, last = i * shape.stride;
    float sum = 0;
    for (index t = max(index{0}, shape.start(i)); t <= last; ++t) sum += x[(b * shape.tokens + t) * shape.dim + d];
    y[row * shape.dim + d] = sum / shape.count(i);
  }
};
/// Columns of x[B,n,..] and y[B,m,..] that meet. repeat and subsample are such maps, too.
struct met_columns {
  column_range range;
  index length, width;        ///< of x
  index to_length, to_width;  ///< of y
};
struct take_fours {
  met_columns shape;
  const float* x;
  float* y;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index row, index column) const {
    const column_range& range = shape.range;
    const index b = row / shape.to_length, i = row % shape.to_length;
    const index from = b * shape.length + i * range.to_stride / range.from_stride;
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
  __device__ __forceinline__ void operator()(index row, index column) const {
    const column_range& range = shape.range;
    const index b = row / shape.length, j = row % shape.length;
    // Positions of y with j = i to_stride / from_stride.
    const index end = min(divided_up((j + 1) * range.from_stride, range.to_stride), shape.to_length);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index i = divided_up(j * range.from_stride, range.to_stride); i < end; ++i)
      sum = sum_of_fours(sum, memory.load(dy + (b * shape.to_length + i) * shape.to_width + range.to_column, column));
    memory.put(dx + row * shape.width + range.from_column, column, sum, add);
  }
};

/// x and y, or their gradients in the same places, which columns of `range` meet.
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
  index tokens, positions, dim, stride;
};
struct depthwise_fours {
  depthwise_shape shape;
  const float* x;
  const float* weight;
  const float* bias;  ///< may be null
  float* y;
  bool add;
  fours memory;
  __device__ __forceinline__ void operator()(index row, index d) const {
    const index b = row / shape.tokens, i = row % shape.tokens / shape.stride;
    const float4 shift = bias == nullptr ? make_float4(0, 0, 0, 0) : memory.load(bias, d);
    memory.put(y + row * shape.dim, d,
               map_four([](float w, float own, float c) { return w * own + c; }, memory.load(weight, d),
                        memory.load(x + (b * shape.positions + i) * shape.dim, d), shift),
               add);
  }
};
struct depthwise_backward_fours {
  depthwise_shape shape;
  const float* weight;
  const float* dy;
  float* dx;
  fours memory;
  __device__ __forceinline__ void operator()(index row, index d) const {
    const index b = row / shape.positions, first = row % shape.positions * shape.stride;
    const index end = min(first + shape.stride, shape.tokens);
    float4 sum = make_float4(0, 0, 0, 0);
    for (index t = first; t < end; ++t)
      sum = sum_of_fours(sum, memory.load(dy + (b * shape.tokens + t) * shape.dim, d));
    memory.put(dx + row * shape.dim, d,
               map_four([](float w, float own) { return w * own; }, memory.load(weight, d), sum), true);
  }
};
/// What each element adds to dweight and to dbias.
struct depthwise_terms {
  depthwise_shape shape;
  const float* x;
  const float* dy;
  __device__ __forceinline__ float2 operator()(index row, index d) const {
    const index b = row / shape.tokens, i = row % shape.tokens / shape.stride;
    const float upper = dy[row * shape.dim + d];
    return make_float2(x[(b * shape.positions + i) * shape.dim + d] * upper, upper);
  }
};

/// Of each text [n,..] the rows `start`, start + apart, .. go to slots number, number + 1, .. of its ring [span,D].
struct keep_fours {
  const float* x;
  index length, width, column, start, apart;
  index kept, number;
  float* ring;
  index span;
  fours memory;
  __device__ __forceinline__ void operator()(index row, index d) const {
    const index b = row / kept, n = row % kept;
    memory.store(ring + (b * span + (number + n) % span) * memory.columns, d,
                 memory.load(x + (b * length + start + n * apart) * width + column, d));
  }
};

struct shift_step_element {
  const float* x;
  float* previous;
  float* y;
  index dim;
  __device__ __forceinline__ void operator()(index b, index d) const {
    const index n = b * dim + d;
    const float now = x[n];
    y[n] = d < (dim + 1) / 2 ? now : previous[n];
    previous[n] = now;
  }
};

}  // namespace device

inline void unfold(cuda& backend, input<float, 3> x, int compression, int stride, index first, output<float, 3> y) {
  device::for_each_in_rows(
      backend, y.shape[0] * y.shape[1], y.shape[2],
      device::unfold_element{{x.shape[1], y.shape[1], x.shape[2], compression, stride, first}, x.data, y.data});
}
inline void unfold_backward(cuda& backend, input<float, 3> dy, int compression, int stride, index first,
                            output<float, 3> dx) {
  device::windows_backward(backend, compression, stride, first, device::unfold_share{dy.data}, dy.shape[1], dx);
}

inline void window_mean(cuda& backend, input<float, 3> x, int compression, int stride, output<float, 3> y) {
  const auto [batch, positions, dim] = y.shape;
  device::for_each_in_rows(
      backend, batch * positions, dim,
      device::window_mean_element{{x.shape[1], positions, dim, compression, stride, 0}, x.data, y.data});
}
inline void window_mean_backward(cuda& backend, input<float, 3> dy, int compression, int stride, output<float, 3> dx) {
  device::windows_backward(backend, compression, stride, 0, device::window_mean_share{dy.data}, dy.shape[1], dx);
}

inline void take_columns(cuda& backend, input<float, 3> x, const column_range& range, output<float, 3> y) {
  device::take(backend, x, range, y, update::replace);
}
inline void take_columns_backward(cuda& backend, input<float, 3> dy, const column_range& range, output<float, 3> dx) {
  device::take_backward(backend, dy, range, dx, update::add);
}
inline void repeat(cuda& backend, input<float, 3> x, int stride, index column, output<float, 3> y) {
  device::take(backend, x, {stride, 0, 1, column, x.shape[2]}, y, update::replace);
}
inline void repeat_backward(cuda& backend, input<float, 3> dy, int stride, index column, output<float, 3> dx) {
  device::take_backward(backend, dy, {stride, 0, 1, column, dx.shape[2]}, dx, update::add);
}
inline void subsample(cuda& backend, input<float, 3> x, int stride, index column, output<float, 3> y) {
  device::take(backend, x, {1, column, stride, 0, y.shape[2]}, y, update::add);
}
inline void subsample_backward(cuda& backend, input<float, 3> dy, int stride, index column, output<float, 3> dx) {
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
  const device::depthwise_shape shape{dy.shape[1], positions, dim, stride};
  device::for_each_four_in_rows(
      backend, batch * positions, dim,
      device::depthwise_backward_fours{shape, weight.data, dy.data, dx.data,
                                       device::fours(dim, {}, {weight.data, dy.data, dx.data})});
  device::add_column_sums(backend, batch * shape.tokens, dim, device::depthwise_terms{shape, x.data, dy.data},
                          dweight.data, dbias.data);
}

inline void keep_last(cuda& backend, input<float, 3> x, int sequence, int dilation, index column,
                      output<float, 3> ring) {
  const auto [batch, span, dim] = ring.shape;
  const index count = (x.shape[1] - sequence + dilation - 1) / dilation, first = std::max<index>(0, count - span);
  const index kept = std::max<index>(0, count - first);
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
inline void keep_row(cuda& backend, input<float, 2> x, index position, output<float, 3> ring) {
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
  device::for_each_in_rows(backend, x.shape[0], x.shape[1],
                           device::shift_step_element{x.data, previous.data, y.data, x.shape[1]});
}

}  // namespace strata
