// gelu, silu and their gradients.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/vector.hpp>

namespace strata {
namespace cpu_detail {

/// y[n] = f(x[n])
template <class Function>
void map(cpu& backend, input<float, 1> x, output<float, 1> y, Function f) {
  backend.parallel(
      y.size(), 8,
      [&](index begin, index end) {
        vector::for_each(end - begin, [&](index n, auto load, auto store) {
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
      [&](index begin, index end) {
        vector::for_each(end - begin, [&](index n, auto load, auto store) {
          store(dx.data + begin + n, load(dy.data + begin + n) * derivative(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

}  // namespace cpu_detail

inline constexpr float inverse_sqrt_2 = 0.70710678f, inverse_sqrt_2_pi = 0.39894228f;

inline void gelu(cpu& backend, input<float, 1> x, output<float, 1> y) {
  cpu_detail::map(backend, x, y, [](vector::floats v) { return 0.5f * v * (1.f + vector::erf(v * inverse_sqrt_2)); });
}
inline void gelu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  cpu_detail::map_backward(backend, x, dy, dx, [](vector::floats v) {
    const vector::floats cumulative = 0.5f + 0.5f * vector::erf(v * inverse_sqrt_2);
    return cumulative + v * vector::exp(-0.5f * v * v) * inverse_sqrt_2_pi;
  });
}
inline void silu(cpu& backend, input<float, 1> x, output<float, 1> y) {
  cpu_detail::map(backend, x, y, [](vector::floats v) { return v / (1.f + vector::exp(-v)); });
}
inline void silu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  cpu_detail::map_backward(backend, x, dy, dx, [](vector::floats v) {
    const vector::floats sigmoid = 1.f / (1.f + vector::exp(-v));
    return sigmoid * (1.f + v * (1.f - sigmoid));
  });
}

}  // namespace strata
