// rms_norm, layer_norm over the token-shifted input, and their gradients.
// Shapes: x [B,n,D] -> y [B,n,D]; factor, mean [B n].
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// Row `r` of token_shift(x): in place if nothing is shifted, else built in `memory`.
inline const float* shifted_row(input<float, 3> x, index_type r, index_type shift, float* memory) {
  const index_type dim = x.shape[2], kept = (dim + 1) / 2;
  const float* row = x.data + r * dim;
  if (shift == 0) return row;
  std::copy_n(row, kept, memory);
  if (r % x.shape[1] >= shift)
    std::copy(row - shift * dim + kept, row - shift * dim + dim, memory + kept);
  else
    std::fill(memory + kept, memory + dim, 0.f);
  return memory;
}

/// Adds the gradient of row `r` of token_shift(x) to the gradient of x. No two rows share an element.
inline void add_shifted_row(const float* gradient, index_type r, index_type shift, output<float, 3> dx) {
  const index_type dim = dx.shape[2], kept = shift == 0 ? dim : (dim + 1) / 2;
  float* row = dx.data + r * dim;
  vector::for_each(kept,
                   [&](index_type d, auto load, auto store) { store(row + d, load(row + d) + load(gradient + d)); });
  if (shift == 0 || r % dx.shape[1] < shift) return;
  float* earlier = row - shift * dim + kept;
  vector::for_each(dim - kept, [&](index_type d, auto load, auto store) {
    store(earlier + d, load(earlier + d) + load(gradient + kept + d));
  });
}

/// sum over d of f(d), a vector of terms that are 0 past the end. Four sums at a time: one alone would wait for each
/// addition.
template <class Terms>
STRATA_ALWAYS_INLINE float sum_over(index_type dim, Terms terms) {
  constexpr index_type lanes = vector::lanes;
  vector::floats total[4]{};
  index_type d = 0;
  for (; d + 4 * lanes <= dim; d += 4 * lanes) STRATA_UNROLL
  for (index_type n = 0; n < 4; ++n) total[n] += terms(d + n * lanes, vector::load_whole{});
  vector::for_each(dim - d, [&](index_type rest, auto load, auto) { total[0] += terms(d + rest, load); });
  return vector::sum((total[0] + total[1]) + (total[2] + total[3]));
}

/// Adds the rows of `partial` [threads, D] to `result` [D], in the order of the threads.
inline void add_partials(int threads, const float* partial, output<float, 1> result) {
  for (int thread = 0; thread < threads; ++thread)
    for (index_type d = 0; d < result.size(); ++d) result(d) += partial[thread * result.size() + d];
}

inline void rms_norm(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift, output<float, 3> y,
                     output<float, 1> factor) {
  const index_type dim = x.shape[2];
  backend.parallel_numbered(factor.size(), 4 * dim, [&](int thread, index_type begin, index_type end) {
    float* memory = backend.thread_memory(thread, dim);
    for (index_type r = begin; r < end; ++r) {
      const float* row = shifted_row(x, r, shift, memory);
      const float squares = sum_over(dim, [&](index_type d, auto load) { return load(row + d) * load(row + d); });
      const float f = std::sqrt(static_cast<float>(dim)) / std::max(std::sqrt(squares), 1e-12f);
      float* out = y.data + r * dim;
      vector::for_each(
          dim, [&](index_type d, auto load, auto store) { store(out + d, load(row + d) * f * load(gain.data + d)); });
      factor(r) = f;
    }
  });
}

inline void rms_norm_backward(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift, input<float, 1> factor,
                              input<float, 3> dy, output<float, 3> dx, output<float, 1> dgain) {
  const index_type dim = x.shape[2];
  float* partial = backend.shared_memory(backend.threads() * dim);
  std::fill_n(partial, backend.threads() * dim, 0.f);
  backend.parallel_numbered(factor.size(), 8 * dim, [&](int thread, index_type begin, index_type end) {
    float* memory = backend.thread_memory(thread, 2 * dim);
    float* gradient = memory + dim;
    float* own_dgain = partial + thread * dim;
    for (index_type r = begin; r < end; ++r) {
      const float* row = shifted_row(x, r, shift, memory);
      const float* dout = dy.data + r * dim;
      const float along =
          sum_over(dim, [&](index_type d, auto load) { return load(dout + d) * load(gain.data + d) * load(row + d); });
      const float f = factor(r), pull = along * f * f / static_cast<float>(dim);
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        const auto value = load(row + d), upper = load(dout + d);
        store(gradient + d, f * (upper * load(gain.data + d) - value * pull));
        store(own_dgain + d, load(own_dgain + d) + upper * value * f);
      });
      add_shifted_row(gradient, r, shift, dx);
    }
  });
  add_partials(backend.threads(), partial, dgain);
}

inline void layer_norm(cpu& backend, input<float, 3> x, input<float, 1> gain, input<float, 1> bias, int shift,
                       output<float, 3> y, output<float, 1> factor, output<float, 1> mean) {
  const index_type dim = x.shape[2];
  backend.parallel_numbered(factor.size(), 6 * dim, [&](int thread, index_type begin, index_type end) {
    float* memory = backend.thread_memory(thread, 2 * dim);
    float* centred = memory + dim;
    for (index_type r = begin; r < end; ++r) {
      const float* row = shifted_row(x, r, shift, memory);
      const float m = sum_over(dim, [&](index_type d, auto load) { return load(row + d); }) / static_cast<float>(dim);
      vector::for_each(dim, [&](index_type d, auto load, auto store) { store(centred + d, load(row + d) - m); });
      const float squares =
          sum_over(dim, [&](index_type d, auto load) { return load(centred + d) * load(centred + d); });
      const float f = 1 / std::sqrt(squares / static_cast<float>(dim) + 1e-5f);
      float* out = y.data + r * dim;
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        store(out + d, load(centred + d) * f * load(gain.data + d) + load(bias.data + d));
      });
      factor(r) = f;
      mean(r) = m;
    }
  });
}

inline void layer_norm_backward(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift,
                                input<float, 1> factor, input<float, 1> mean, input<float, 3> dy, output<float, 3> dx,
                                output<float, 1> dgain, output<float, 1> dbias) {
  const index_type dim = x.shape[2];
  float* partial_gain = backend.shared_memory(2 * backend.threads() * dim);
  float* partial_bias = partial_gain + backend.threads() * dim;
  std::fill_n(partial_gain, 2 * backend.threads() * dim, 0.f);
  backend.parallel_numbered(factor.size(), 10 * dim, [&](int thread, index_type begin, index_type end) {
    float* memory = backend.thread_memory(thread, 2 * dim);
    float* gradient = memory + dim;
    float* own_dgain = partial_gain + thread * dim;
    float* own_dbias = partial_bias + thread * dim;
    for (index_type r = begin; r < end; ++r) {
      const float* row = shifted_row(x, r, shift, memory);
      const float* dout = dy.data + r * dim;
      const float f = factor(r), m = mean(r);
      const float sum = sum_over(dim, [&](index_type d, auto load) { return load(dout + d) * load(gain.data + d); });
      const float along = sum_over(
          dim, [&](index_type d, auto load) { return load(dout + d) * load(gain.data + d) * (load(row + d) - m) * f; });
      const float mean_sum = sum / static_cast<float>(dim), mean_along = along / static_cast<float>(dim);
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        const auto normed = (load(row + d) - m) * f, upper = load(dout + d);
        store(gradient + d, f * (upper * load(gain.data + d) - mean_sum - normed * mean_along));
        store(own_dgain + d, load(own_dgain + d) + upper * normed);
        store(own_dbias + d, load(own_dbias + d) + upper);
      });
      add_shifted_row(gradient, r, shift, dx);
    }
  });
  add_partials(backend.threads(), partial_gain, dgain);
  add_partials(backend.threads(), partial_bias, dbias);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
