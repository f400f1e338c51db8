// add_previous, its gradient and its step.
// Shapes: x [B,n,D], share [D] -> y [B,n,D].
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// y[D] = x[D] + share[D] earlier[D]
inline void add_share(const float* x, const float* share, const float* earlier, index_type dim, float* y) {
  vector::for_each(dim, [=](index_type d, auto load, auto store) {
    store(y + d, load(x + d) + load(share + d) * load(earlier + d));
  });
}

inline void add_previous(cpu& backend, input<float, 3> x, input<float, 1> share, int shift, output<float, 3> y) {
  const auto [batch, length, dim] = x.shape;
  backend.parallel(batch * length, 2 * dim, [&, length = length, dim = dim](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      const float* const from = x.data + r * dim;
      float* const to = y.data + r * dim;
      if (r % length < shift)
        std::copy_n(from, dim, to);
      else
        add_share(from, share.data, from - shift * dim, dim, to);
    }
  });
}

/// Threads own columns: dx may replace x, and sums have a fixed order.
inline void add_previous_backward(cpu& backend, input<float, 3> x, input<float, 1> share, int shift, input<float, 3> dy,
                                  output<float, 3> dx, output<float, 1> dshare) {
  const auto [batch, length, dim] = x.shape;
  backend.parallel(
      dim, 4 * batch * length,
      [&, batch = batch, length = length, dim = dim](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          const index_type d = begin + n;
          const vector::floats own = load(share.data + d);
          vector::floats sum{};
          for (index_type b = 0; b < batch; ++b) {
            const index_type text = b * length * dim + d;
            for (index_type i = 0; i < length; ++i) {
              const index_type at = text + i * dim, next = at + shift * dim;
              vector::floats slope = load(dy.data + at);
              if (i + shift < length) {
                const vector::floats later = load(dy.data + next);
                sum += later * load(x.data + at);
                slope += own * later;
              }
              store(dx.data + at, slope);
            }
          }
          store(dshare.data + d, load(dshare.data + d) + sum);
        });
      },
      vector::lanes);
}

inline void add_previous_step(cpu& backend, input<float, 2> x, input<float, 1> share, output<float, 2> previous,
                              output<float, 2> y) {
  const auto [batch, dim] = x.shape;
  backend.parallel(batch, 2 * dim, [&, dim = dim](index_type begin, index_type end) {
    for (index_type b = begin; b < end; ++b) {
      add_share(x.data + b * dim, share.data, previous.data + b * dim, dim, y.data + b * dim);
      std::copy_n(x.data + b * dim, dim, previous.data + b * dim);
    }
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
