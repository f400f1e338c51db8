// Products with few rows, where memory decides; sums over rows; rounding to bfloat16.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N]; dy [R,N] -> dbias [N].
// Source: own.

namespace strata::kernels::STRATA_INSTRUCTIONS {

/// y[r, first..last) = or += x[r] . weight[n] + bias[n], for `Rows` rows.
template <int Rows>
inline void dot_rows(view<const float, 2> x, view<const float, 2> weight, view<const float, 1> bias, view<float, 2> y,
                     update mode, index first, index last) {
  const index depth = x.shape[1], width = y.shape[1];
  constexpr int group = 4;  // weights that share the loads of x
  for (index n = first; n < last; n += group) {
    const index size = std::min<index>(group, last - n);
    vector::floats total[group][Rows]{};
    const float* w[group];
    for (index g = 0; g < group; ++g) w[g] = weight.data + (n + std::min(g, size - 1)) * depth;
    vector::for_each(depth, [&](index k, auto load, auto) {
      STRATA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const vector::floats value = load(x.data + r * depth + k);
        STRATA_UNROLL
        for (int g = 0; g < group; ++g) total[g][r] += load(w[g] + k) * value;
      }
    });
    for (index g = 0; g < size; ++g)
      for (int r = 0; r < Rows; ++r) {
        const float sum = vector::sum(total[g][r]) + (bias ? bias(n + g) : 0.f);
        float& out = y.data[r * width + n + g];
        out = mode == update::add ? out + sum : sum;
      }
  }
}

inline void linear_few_rows(cpu& backend, view<const float, 2> x, view<const float, 2> weight,
                            view<const float, 1> bias, view<float, 2> y, update mode) {
  backend.parallel(weight.shape[0], weight.shape[1], [&](index begin, index end) {
    switch (x.shape[0]) {
      case 0:
        return;
      case 1:
        return dot_rows<1>(x, weight, bias, y, mode, begin, end);
      case 2:
        return dot_rows<2>(x, weight, bias, y, mode, begin, end);
      case 3:
        return dot_rows<3>(x, weight, bias, y, mode, begin, end);
      default:
        return dot_rows<4>(x, weight, bias, y, mode, begin, end);
    }
  });
}

/// dbias[n] += sum over rows; threads own columns.
inline void add_column_sums(cpu& backend, view<const float, 2> dy, view<float, 1> dbias) {
  const auto [rows, width] = dy.shape;
  backend.parallel(
      width, rows,
      [&, rows = rows, width = width](index begin, index end) {
        for (index r = 0; r < rows; ++r) {
          const float* from = dy.data + r * width + begin;
          float* to = dbias.data + begin;
          vector::for_each(end - begin,
                           [&](index n, auto load, auto store) { store(to + n, load(to + n) + load(from + n)); });
        }
      },
      vector::lanes);
}

/// y[n] = the nearest number of bfloat16, the even one of two.
inline void round_to_bfloat16(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(
      y.size(), 2,
      [&](index begin, index end) {
        vector::for_each(end - begin, [&](index n, auto load, auto store) {
          store(y.data + begin + n, vector::nearest_bfloat16(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
