// Operations between levels: unfold, window_mean, repeat, subsample, take_columns, depthwise, their gradients, the
// token shift of one step, and the last positions that later steps need.
// Shapes: tokens [B,T,D] <-> level positions [B,n,D]; level position i is at token i stride.
// Source: docs/model.md.
#pragma once

#include <algorithm>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void unfold(reference<S>&, input<S, 3> x, int compression, int stride, index_type first, output<S, 3> y) {
  for (index_type b = 0; b < y.shape[0]; ++b)
    for (index_type i = 0; i < y.shape[1]; ++i)
      for (index_type d = 0; d < x.shape[2]; ++d)
        for (index_type k = 0; k < compression; ++k) {
          const index_type t = first + i * stride - (compression - 1) + k;
          y(b, i, d * compression + k) = t < 0 || t >= x.shape[1] ? S{0} : x(b, t, d);
        }
}

template <class S>
void unfold_backward(reference<S>&, input<S, 3> dy, int compression, int stride, index_type first, output<S, 3> dx) {
  for (index_type b = 0; b < dy.shape[0]; ++b)
    for (index_type i = 0; i < dy.shape[1]; ++i)
      for (index_type d = 0; d < dx.shape[2]; ++d)
        for (index_type k = 0; k < compression; ++k) {
          const index_type t = first + i * stride - (compression - 1) + k;
          if (t >= 0 && t < dx.shape[1]) dx(b, t, d) += dy(b, i, d * compression + k);
        }
}

namespace reference_detail {

/// Calls `body(b, i, t, count)` for every position `i` and every token `t` of its window of `count` tokens.
template <class Body>
void for_each_of_windows(std::array<index_type, 3> positions, int compression, int stride, Body body) {
  for (index_type b = 0; b < positions[0]; ++b)
    for (index_type i = 0; i < positions[1]; ++i) {
      const index_type last = i * stride, first = std::max<index_type>(0, last - compression + 1);
      for (index_type t = first; t <= last; ++t) body(b, i, t, last - first + 1);
    }
}

}  // namespace reference_detail

template <class S>
void window_mean(reference<S>&, input<S, 3> x, int compression, int stride, output<S, 3> y) {
  for (index_type n = 0; n < y.size(); ++n) y.data[n] = 0;
  reference_detail::for_each_of_windows(y.shape, compression, stride,
                                        [&](index_type b, index_type i, index_type t, index_type count) {
                                          for (index_type d = 0; d < y.shape[2]; ++d)
                                            y(b, i, d) += x(b, t, d) / static_cast<S>(count);
                                        });
}

template <class S>
void window_mean_backward(reference<S>&, input<S, 3> dy, int compression, int stride, output<S, 3> dx) {
  reference_detail::for_each_of_windows(dy.shape, compression, stride,
                                        [&](index_type b, index_type i, index_type t, index_type count) {
                                          for (index_type d = 0; d < dy.shape[2]; ++d)
                                            dx(b, t, d) += dy(b, i, d) / static_cast<S>(count);
                                        });
}

template <class S>
void repeat(reference<S>&, input<S, 3> x, int stride, index_type column, output<S, 3> y) {
  for (index_type b = 0; b < y.shape[0]; ++b)
    for (index_type t = 0; t < y.shape[1]; ++t)
      for (index_type d = 0; d < x.shape[2]; ++d) y(b, t, column + d) = x(b, t / stride, d);
}

template <class S>
void repeat_backward(reference<S>&, input<S, 3> dy, int stride, index_type column, output<S, 3> dx) {
  for (index_type b = 0; b < dy.shape[0]; ++b)
    for (index_type t = 0; t < dy.shape[1]; ++t)
      for (index_type d = 0; d < dx.shape[2]; ++d) dx(b, t / stride, d) += dy(b, t, column + d);
}

template <class S>
void subsample(reference<S>&, input<S, 3> x, int stride, index_type column, output<S, 3> y) {
  for (index_type b = 0; b < y.shape[0]; ++b)
    for (index_type i = 0; i < y.shape[1]; ++i)
      for (index_type d = 0; d < y.shape[2]; ++d) y(b, i, d) += x(b, i * stride, column + d);
}

template <class S>
void subsample_backward(reference<S>&, input<S, 3> dy, int stride, index_type column, output<S, 3> dx) {
  for (index_type b = 0; b < dx.shape[0]; ++b)
    for (index_type t = 0; t < dx.shape[1]; ++t)
      for (index_type d = 0; d < dy.shape[2]; ++d) dx(b, t, column + d) = t % stride == 0 ? dy(b, t / stride, d) : S{0};
}

template <class S>
void take_columns(reference<S>&, input<S, 3> x, const column_range& range, output<S, 3> y) {
  for (index_type b = 0; b < y.shape[0]; ++b)
    for (index_type i = 0; i < y.shape[1]; ++i)
      for (index_type c = 0; c < range.width; ++c)
        y(b, i, range.to_column + c) = x(b, i * range.to_stride / range.from_stride, range.from_column + c);
}

template <class S>
void take_columns_backward(reference<S>&, input<S, 3> dy, const column_range& range, output<S, 3> dx) {
  for (index_type b = 0; b < dy.shape[0]; ++b)
    for (index_type i = 0; i < dy.shape[1]; ++i)
      for (index_type c = 0; c < range.width; ++c)
        dx(b, i * range.to_stride / range.from_stride, range.from_column + c) += dy(b, i, range.to_column + c);
}

template <class S>
void depthwise(reference<S>&, input<S, 3> x, int stride, input<S, 1> weight, input<S, 1> bias, output<S, 3> y,
               update mode) {
  for (index_type b = 0; b < y.shape[0]; ++b)
    for (index_type t = 0; t < y.shape[1]; ++t)
      for (index_type d = 0; d < y.shape[2]; ++d) {
        const S value = weight(d) * x(b, t / stride, d) + (bias ? bias(d) : S{0});
        y(b, t, d) = mode == update::add ? y(b, t, d) + value : value;
      }
}

template <class S>
void depthwise_backward(reference<S>&, input<S, 3> x, int stride, input<S, 1> weight, input<S, 3> dy, output<S, 3> dx,
                        output<S, 1> dweight, output<S, 1> dbias) {
  for (index_type d = 0; d < dy.shape[2]; ++d) {
    double sum_of_products = 0, sum = 0;
    for (index_type b = 0; b < dy.shape[0]; ++b)
      for (index_type t = 0; t < dy.shape[1]; ++t) {
        dx(b, t / stride, d) += weight(d) * dy(b, t, d);
        sum_of_products += static_cast<double>(x(b, t / stride, d)) * static_cast<double>(dy(b, t, d));
        sum += static_cast<double>(dy(b, t, d));
      }
    dweight(d) += static_cast<S>(sum_of_products);
    if (dbias) dbias(d) += static_cast<S>(sum);
  }
}

template <class S>
void keep_last(reference<S>&, input<S, 3> x, int sequence, int dilation, index_type column, output<S, 3> ring) {
  const index_type span = ring.shape[1], count = (x.shape[1] - sequence + dilation - 1) / dilation;
  for (index_type b = 0; b < ring.shape[0]; ++b)
    for (index_type j = std::max<index_type>(0, count - span); j < count; ++j)
      for (index_type d = 0; d < ring.shape[2]; ++d) ring(b, j % span, d) = x(b, sequence + j * dilation, column + d);
}

template <class S>
void keep_row(reference<S>&, input<S, 2> x, index_type position, output<S, 3> ring) {
  for (index_type b = 0; b < ring.shape[0]; ++b)
    for (index_type d = 0; d < ring.shape[2]; ++d) ring(b, position % ring.shape[1], d) = x(b, d);
}

template <class S>
void shift_step(reference<S>&, input<S, 2> x, output<S, 2> previous, output<S, 2> y) {
  for (index_type b = 0; b < x.shape[0]; ++b)
    for (index_type d = 0; d < x.shape[1]; ++d) {
      y(b, d) = d < (x.shape[1] + 1) / 2 ? x(b, d) : previous(b, d);
      previous(b, d) = x(b, d);
    }
}

}  // namespace strata
