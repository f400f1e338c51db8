// gelu, silu and their gradients.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// y[n] = f(x[n])
template <class Function>
void map(cpu& backend, input<float, 1> x, output<float, 1> y, Function f) {
  backend.parallel(
      y.size(), 8,
      [&](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          store(y.data + begin + n, f(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

/// dx[n] = dy[n] f'(x[n])
template <class Derivative>
void map_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx, Derivative derivative) {
  backend.parallel(
      dx.size(), 8,
      [&](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          store(dx.data + begin + n, load(dy.data + begin + n) * derivative(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

inline constexpr float inverse_sqrt_2 = 0.70710678f, inverse_sqrt_2_pi = 0.39894228f;

struct gelu_of {
  STRATA_ALWAYS_INLINE vector::floats operator()(vector::floats x) const {
    return 0.5f * x * (1.f + vector::erf(x * inverse_sqrt_2));
  }
};
struct gelu_derivative {
  STRATA_ALWAYS_INLINE vector::floats operator()(vector::floats x) const {
    const vector::floats cumulative = 0.5f + 0.5f * vector::erf(x * inverse_sqrt_2);
    return cumulative + x * vector::exp(-0.5f * x * x) * inverse_sqrt_2_pi;
  }
};
struct silu_of {
  STRATA_ALWAYS_INLINE vector::floats operator()(vector::floats x) const { return x / (1.f + vector::exp(-x)); }
};
struct silu_derivative {
  STRATA_ALWAYS_INLINE vector::floats operator()(vector::floats x) const {
    const vector::floats sigmoid = 1.f / (1.f + vector::exp(-x));
    return sigmoid * (1.f + x * (1.f - sigmoid));
  }
};

inline void gelu(cpu& backend, input<float, 1> x, output<float, 1> y) { map(backend, x, y, gelu_of{}); }
inline void gelu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  map_backward(backend, x, dy, dx, gelu_derivative{});
}
inline void silu(cpu& backend, input<float, 1> x, output<float, 1> y) { map(backend, x, y, silu_of{}); }
inline void silu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  map_backward(backend, x, dy, dx, silu_derivative{});
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
