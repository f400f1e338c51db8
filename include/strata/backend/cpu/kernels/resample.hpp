// Operations between levels: unfold, window_mean, repeat, subsample, take_columns, depthwise, their gradients, and the
// token shift of one step.
// Shapes: tokens [B,T,D] <-> level positions [B,n,D]; level position i is at token i stride.
// Source: backend/backend.hpp. Threads own rows of the output, so sums have a fixed order.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void add_row(const float* from, float* to, index_type count) {
  vector::for_each(count, [&](index_type d, auto load, auto store) { store(to + d, load(to + d) + load(from + d)); });
}

inline void unfold(cpu& backend, input<float, 3> x, int compression, int stride, index_type first, output<float, 3> y) {
  const index_type length = x.shape[1], dim = x.shape[2], positions = y.shape[1], c = compression;
  backend.parallel(y.shape[0] * positions, dim * c, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      const index_type b = r / positions, last = first + r % positions * stride;
      float* patch = y.data + r * dim * c;
      for (index_type k = 0; k < c; ++k) {
        const index_type t = last - (c - 1) + k;
        const float* from = x.data + (b * length + t) * dim;
        const bool outside = t < 0 || t >= length;
        for (index_type d = 0; d < dim; ++d) patch[d * c + k] = outside ? 0.f : from[d];
      }
    }
  });
}

inline void unfold_backward(cpu& backend, input<float, 3> dy, int compression, int stride, index_type first,
                            output<float, 3> dx) {
  const index_type length = dx.shape[1], dim = dx.shape[2], positions = dy.shape[1], c = compression;
  backend.parallel(dx.shape[0] * length, dim * c / stride, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / length, t = row % length;
      float* to = dx.data + row * dim;
      // Token t is entry k of the patch of position i where first + i stride - (c-1) + k = t.
      const index_type past_first = std::max<index_type>(t - first, 0);
      for (index_type i = (past_first + stride - 1) / stride; i < positions; ++i) {
        const index_type k = t - (first + i * stride - (c - 1));
        if (k < 0) break;
        const float* patch = dy.data + (b * positions + i) * dim * c;
        for (index_type d = 0; d < dim; ++d) to[d] += patch[d * c + k];
      }
    }
  });
}

inline void window_mean(cpu& backend, input<float, 3> x, int compression, int stride, output<float, 3> y) {
  const index_type length = x.shape[1], dim = x.shape[2], positions = y.shape[1];
  backend.parallel(y.shape[0] * positions, dim * compression, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      const index_type last = r % positions * stride, first = std::max<index_type>(0, last - compression + 1);
      const float* from = x.data + (r / positions * length + first) * dim;
      float* to = y.data + r * dim;
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        vector::floats sum{};
        for (index_type t = 0; t <= last - first; ++t) sum += load(from + t * dim + d);
        store(to + d, sum / static_cast<float>(last - first + 1));
      });
    }
  });
}

inline void window_mean_backward(cpu& backend, input<float, 3> dy, int compression, int stride, output<float, 3> dx) {
  const index_type length = dx.shape[1], dim = dx.shape[2], positions = dy.shape[1];
  backend.parallel(dx.shape[0] * length, dim * compression / stride, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / length, t = row % length;
      float* to = dx.data + row * dim;
      // Token t is in the windows that end at t .. t + compression - 1.
      for (index_type i = (t + stride - 1) / stride; i < positions && i * stride < t + compression; ++i) {
        const float* from = dy.data + (b * positions + i) * dim;
        const float share = 1 / static_cast<float>(std::min<index_type>(compression, i * stride + 1));
        vector::for_each(
            dim, [&](index_type d, auto load, auto store) { store(to + d, load(to + d) + load(from + d) * share); });
      }
    }
  });
}

inline void repeat(cpu& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  const index_type length = y.shape[1], width = y.shape[2], positions = x.shape[1], dim = x.shape[2];
  backend.parallel(y.shape[0] * length, dim, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / length, t = row % length;
      std::copy_n(x.data + (b * positions + t / stride) * dim, dim, y.data + row * width + column);
    }
  });
}

inline void repeat_backward(cpu& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  const index_type length = dy.shape[1], width = dy.shape[2], positions = dx.shape[1], dim = dx.shape[2];
  backend.parallel(dx.shape[0] * positions, dim * stride, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / positions, i = row % positions;
      for (index_type t = i * stride; t < std::min(length, (i + 1) * stride); ++t)
        add_row(dy.data + (b * length + t) * width + column, dx.data + row * dim, dim);
    }
  });
}

inline void subsample(cpu& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  const index_type length = x.shape[1], width = x.shape[2], positions = y.shape[1], dim = y.shape[2];
  backend.parallel(y.shape[0] * positions, dim, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / positions, i = row % positions;
      add_row(x.data + (b * length + i * stride) * width + column, y.data + row * dim, dim);
    }
  });
}

inline void subsample_backward(cpu& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  const index_type length = dx.shape[1], width = dx.shape[2], positions = dy.shape[1], dim = dy.shape[2];
  backend.parallel(dx.shape[0] * length, dim, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / length, t = row % length;
      float* to = dx.data + row * width + column;
      if (t % stride == 0)
        std::copy_n(dy.data + (b * positions + t / stride) * dim, dim, to);
      else
        std::fill_n(to, dim, 0.f);
    }
  });
}

inline void take_columns(cpu& backend, input<float, 3> x, const column_range& range, output<float, 3> y) {
  const index_type positions = y.shape[1];
  backend.parallel(y.shape[0] * positions, range.width, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type j = row % positions * range.to_stride / range.from_stride;
      std::copy_n(x.data + (row / positions * x.shape[1] + j) * x.shape[2] + range.from_column, range.width,
                  y.data + row * y.shape[2] + range.to_column);
    }
  });
}

inline void take_columns_backward(cpu& backend, input<float, 3> dy, const column_range& range, output<float, 3> dx) {
  const index_type positions = dx.shape[1], taken = dy.shape[1];
  const index_type cost = range.width * (1 + range.from_stride / range.to_stride);
  backend.parallel(dx.shape[0] * positions, cost, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const index_type b = row / positions, j = row % positions;
      // Position i of dy takes j where j from_stride <= i to_stride < (j + 1) from_stride.
      for (index_type i = (j * range.from_stride + range.to_stride - 1) / range.to_stride;
           i < taken && i * range.to_stride < (j + 1) * range.from_stride; ++i)
        add_row(dy.data + (b * taken + i) * dy.shape[2] + range.to_column,
                dx.data + row * dx.shape[2] + range.from_column, range.width);
    }
  });
}

inline void depthwise(cpu& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 1> bias,
                      output<float, 3> y, update mode) {
  const index_type length = y.shape[1], dim = y.shape[2], positions = x.shape[1];
  backend.parallel(y.shape[0] * length, 2 * dim, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row) {
      const float* from = x.data + (row / length * positions + row % length / stride) * dim;
      float* to = y.data + row * dim;
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        vector::floats value = load(weight.data + d) * load(from + d);
        if (bias) value += load(bias.data + d);
        if (mode == update::add) value += load(to + d);
        store(to + d, value);
      });
    }
  });
}

inline void depthwise_backward(cpu& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 3> dy,
                               output<float, 3> dx, output<float, 1> dweight, output<float, 1> dbias) {
  const index_type length = dy.shape[1], dim = dy.shape[2], positions = x.shape[1];
  float* partial_weight = backend.shared_memory(2 * backend.threads() * dim);
  float* partial_bias = partial_weight + backend.threads() * dim;
  std::fill_n(partial_weight, 2 * backend.threads() * dim, 0.f);
  backend.parallel_numbered(
      x.shape[0] * positions, 4 * dim * stride, [&](int thread, index_type begin, index_type end) {
        float* sum = backend.thread_memory(thread, dim);  // sum of the gradients of a position's repeats
        float* own_dweight = partial_weight + thread * dim;
        for (index_type row = begin; row < end; ++row) {
          const index_type b = row / positions, i = row % positions;
          std::fill_n(sum, dim, 0.f);
          for (index_type t = i * stride; t < std::min(length, (i + 1) * stride); ++t)
            add_row(dy.data + (b * length + t) * dim, sum, dim);
          const float* from = x.data + row * dim;
          float* to = dx.data + row * dim;
          vector::for_each(dim, [&](index_type d, auto load, auto store) {
            store(to + d, load(to + d) + load(weight.data + d) * load(sum + d));
            store(own_dweight + d, load(own_dweight + d) + load(from + d) * load(sum + d));
          });
          add_row(sum, partial_bias + thread * dim, dim);
        }
      });
  add_partials(backend.threads(), partial_weight, dweight);
  if (dbias) add_partials(backend.threads(), partial_bias, dbias);
}

inline void shift_step(cpu&, input<float, 2> x, output<float, 2> previous, output<float, 2> y) {
  const index_type dim = x.shape[1], kept = (dim + 1) / 2;
  for (index_type b = 0; b < x.shape[0]; ++b) {
    std::copy_n(x.data + b * dim, kept, y.data + b * dim);
    std::copy_n(previous.data + b * dim + kept, dim - kept, y.data + b * dim + kept);
    std::copy_n(x.data + b * dim, dim, previous.data + b * dim);
  }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
