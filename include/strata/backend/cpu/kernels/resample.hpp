// What moves between levels: unfold, repeat, subsample, their gradients, and the token shift of one step.
// Shapes: tokens [B,T,D] <-> level positions [B,n,D]; level position i stands at token i stride.
// Source: backend/backend.hpp. Threads own rows of the output, so sums have a fixed order.

namespace strata::kernels::STRATA_INSTRUCTIONS {

inline void add_row(const float* from, float* to, index count) {
  vector::for_each(count, [&](index d, auto load, auto store) { store(to + d, load(to + d) + load(from + d)); });
}

inline void unfold(cpu& backend, input<float, 3> x, int compression, int stride, index first, output<float, 3> y) {
  const index length = x.shape[1], dim = x.shape[2], positions = y.shape[1], c = compression;
  backend.parallel(y.shape[0] * positions, dim * c, [&](index begin, index end) {
    for (index r = begin; r < end; ++r) {
      const index b = r / positions, last = first + r % positions * stride;
      float* patch = y.data + r * dim * c;
      for (index k = 0; k < c; ++k) {
        const index t = last - (c - 1) + k;
        const float* from = x.data + (b * length + t) * dim;
        const bool outside = t < 0 || t >= length;
        for (index d = 0; d < dim; ++d) patch[d * c + k] = outside ? 0.f : from[d];
      }
    }
  });
}

inline void unfold_backward(cpu& backend, input<float, 3> dy, int compression, int stride, index first,
                            output<float, 3> dx) {
  const index length = dx.shape[1], dim = dx.shape[2], positions = dy.shape[1], c = compression;
  backend.parallel(dx.shape[0] * length, dim * c / stride, [&](index begin, index end) {
    for (index row = begin; row < end; ++row) {
      const index b = row / length, t = row % length;
      float* to = dx.data + row * dim;
      // Token t is number k of the patch of position i where first + i stride - (c-1) + k = t.
      const index past_first = std::max<index>(t - first, 0);
      for (index i = (past_first + stride - 1) / stride; i < positions; ++i) {
        const index k = t - (first + i * stride - (c - 1));
        if (k < 0) break;
        const float* patch = dy.data + (b * positions + i) * dim * c;
        for (index d = 0; d < dim; ++d) to[d] += patch[d * c + k];
      }
    }
  });
}

inline void repeat(cpu& backend, input<float, 3> x, int stride, index column, output<float, 3> y) {
  const index length = y.shape[1], width = y.shape[2], positions = x.shape[1], dim = x.shape[2];
  backend.parallel(y.shape[0] * length, dim, [&](index begin, index end) {
    for (index row = begin; row < end; ++row) {
      const index b = row / length, t = row % length;
      std::copy_n(x.data + (b * positions + t / stride) * dim, dim, y.data + row * width + column);
    }
  });
}

inline void repeat_backward(cpu& backend, input<float, 3> dy, int stride, index column, output<float, 3> dx) {
  const index length = dy.shape[1], width = dy.shape[2], positions = dx.shape[1], dim = dx.shape[2];
  backend.parallel(dx.shape[0] * positions, dim * stride, [&](index begin, index end) {
    for (index row = begin; row < end; ++row) {
      const index b = row / positions, i = row % positions;
      for (index t = i * stride; t < std::min(length, (i + 1) * stride); ++t)
        add_row(dy.data + (b * length + t) * width + column, dx.data + row * dim, dim);
    }
  });
}

inline void subsample(cpu& backend, input<float, 3> x, int stride, index column, output<float, 3> y) {
  const index length = x.shape[1], width = x.shape[2], positions = y.shape[1], dim = y.shape[2];
  backend.parallel(y.shape[0] * positions, dim, [&](index begin, index end) {
    for (index row = begin; row < end; ++row) {
      const index b = row / positions, i = row % positions;
      add_row(x.data + (b * length + i * stride) * width + column, y.data + row * dim, dim);
    }
  });
}

inline void subsample_backward(cpu& backend, input<float, 3> dy, int stride, index column, output<float, 3> dx) {
  const index length = dx.shape[1], width = dx.shape[2], positions = dy.shape[1], dim = dy.shape[2];
  backend.parallel(dx.shape[0] * length, dim, [&](index begin, index end) {
    for (index row = begin; row < end; ++row) {
      const index b = row / length, t = row % length;
      float* to = dx.data + row * width + column;
      if (t % stride == 0)
        std::copy_n(dy.data + (b * positions + t / stride) * dim, dim, to);
      else
        std::fill_n(to, dim, 0.f);
    }
  });
}

inline void shift_step(cpu&, input<float, 2> x, output<float, 2> previous, output<float, 2> y) {
  const index dim = x.shape[1], kept = (dim + 1) / 2;
  for (index b = 0; b < x.shape[0]; ++b) {
    std::copy_n(x.data + b * dim, kept, y.data + b * dim);
    std::copy_n(previous.data + b * dim + kept, dim - kept, y.data + b * dim + kept);
    std::copy_n(x.data + b * dim, dim, previous.data + b * dim);
  }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
