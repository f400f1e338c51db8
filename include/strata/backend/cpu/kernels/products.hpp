// Products with few rows, where memory decides; sums over rows; rounding to bfloat16.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N]; dy [R,N] -> dbias [N].
// Source: own.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline constexpr index_type read_ahead = 4096;  // bytes

/// y[r, first..last) = or += scale[n] (x[r] . weight[n]) + bias[n], for `Rows` rows; no scale is 1. One weight after the
/// other, so that memory is read in its order.
template <int Rows, class Weight>
inline void dot_rows(view<const float, 2> x, view<const Weight, 2> weight, view<const float, 1> scale,
                     view<const float, 1> bias, view<float, 2> y, update mode, index_type first, index_type last) {
  const index_type depth = x.shape[1], width = y.shape[1];
  constexpr int chains = Rows == 1 ? 4 : 2;                                      // sums that do not wait for each other
  constexpr int line = 64 / (vector::lanes * static_cast<int>(sizeof(Weight)));  // vectors of weights
  constexpr int steps = line > chains ? line : chains;
  for (index_type n = first; n < last; ++n) {
    const Weight* w = weight.data + n * depth;
    vector::floats total[Rows][chains]{};
    index_type k = 0;
    for (; k + steps * vector::lanes <= depth; k += steps * vector::lanes) {
      // Floats come fast enough as it is; conversions leave the processor too little time to look ahead.
      if constexpr (sizeof(Weight) < sizeof(float))
        __builtin_prefetch(reinterpret_cast<const char*>(w + k) + read_ahead);
      STRATA_UNROLL
      for (int step = 0; step < steps; ++step) {
        const index_type at = k + step * vector::lanes;
        const vector::floats value = vector::load(w + at);
        STRATA_UNROLL
        for (int r = 0; r < Rows; ++r) total[r][step % chains] += value * vector::load(x.data + r * depth + at);
      }
    }
    vector::for_each(depth - k, [&](index_type rest, auto load, auto) {
      const vector::floats value = load(w + k + rest);
      STRATA_UNROLL
      for (int r = 0; r < Rows; ++r) total[r][0] += value * load(x.data + r * depth + k + rest);
    });
    for (int r = 0; r < Rows; ++r) {
      for (int chain = 1; chain < chains; ++chain) total[r][0] += total[r][chain];
      const float sum = vector::sum(total[r][0]) * (scale ? scale(n) : 1.f) + (bias ? bias(n) : 0.f);
      float& out = y.data[r * width + n];
      out = mode == update::add ? out + sum : sum;
    }
  }
}

template <class Weight>
inline void linear_few_rows(cpu& backend, view<const float, 2> x, view<const Weight, 2> weight,
                            view<const float, 1> scale, view<const float, 1> bias, view<float, 2> y, update mode) {
  backend.parallel(weight.shape[0], weight.shape[1], [&](index_type begin, index_type end) {
    switch (x.shape[0]) {
      case 0:
        return;
      case 1:
        return dot_rows<1>(x, weight, scale, bias, y, mode, begin, end);
      case 2:
        return dot_rows<2>(x, weight, scale, bias, y, mode, begin, end);
      case 3:
        return dot_rows<3>(x, weight, scale, bias, y, mode, begin, end);
      default:
        return dot_rows<4>(x, weight, scale, bias, y, mode, begin, end);
    }
  });
}

/// y[N,K] = scale[n] weight[N,K]; no scale is 1.
template <class Weight>
inline void unpack(cpu& backend, view<const Weight, 2> weight, view<const float, 1> scale, view<float, 2> y) {
  const index_type depth = weight.shape[1];
  backend.parallel(weight.shape[0], depth, [&](index_type begin, index_type end) {
    for (index_type n = begin; n < end; ++n)
      vector::for_each(depth, [&](index_type k, auto load, auto store) {
        store(y.data + n * depth + k, load(weight.data + n * depth + k) * (scale ? scale(n) : 1.f));
      });
  });
}

/// dbias[n] += sum over rows; threads own columns.
inline void add_column_sums(cpu& backend, view<const float, 2> dy, view<float, 1> dbias) {
  const auto [rows, width] = dy.shape;
  backend.parallel(
      width, rows,
      [&, rows = rows, width = width](index_type begin, index_type end) {
        for (index_type r = 0; r < rows; ++r) {
          const float* from = dy.data + r * width + begin;
          float* to = dbias.data + begin;
          vector::for_each(end - begin,
                           [&](index_type n, auto load, auto store) { store(to + n, load(to + n) + load(from + n)); });
        }
      },
      vector::lanes);
}

/// y[n] = the nearest number of bfloat16, the even one of two.
inline void round_to_bfloat16(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(
      y.size(), 2,
      [&](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          store(y.data + begin + n, vector::nearest_bfloat16(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
