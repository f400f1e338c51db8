// gelu, silu and their gradients.
// Shapes: [N] in, [N] out.
// Source: Hendrycks and Gimpel, arXiv 1606.08415 (the exact form, with erf; SiLU in the same paper).
#pragma once

#include <cmath>
#include <numbers>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void gelu(reference<S>&, input<S, 1> x, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) = x(n) * (1 + std::erf(x(n) / std::numbers::sqrt2_v<S>)) / 2;
}

template <class S>
void gelu_backward(reference<S>&, input<S, 1> x, input<S, 1> dy, output<S, 1> dx) {
  for (index_type n = 0; n < dx.size(); ++n) {
    const S cumulative = (1 + std::erf(x(n) / std::numbers::sqrt2_v<S>)) / 2;
    const S density = std::exp(-x(n) * x(n) / 2) * std::numbers::inv_sqrtpi_v<S> / std::numbers::sqrt2_v<S>;
    dx(n) = dy(n) * (cumulative + x(n) * density);
  }
}

template <class S>
void silu(reference<S>&, input<S, 1> x, output<S, 1> y) {
  for (index_type n = 0; n < y.size(); ++n) y(n) = x(n) / (1 + std::exp(-x(n)));
}

template <class S>
void silu_backward(reference<S>&, input<S, 1> x, input<S, 1> dy, output<S, 1> dx) {
  for (index_type n = 0; n < dx.size(); ++n) {
    const S sigmoid = 1 / (1 + std::exp(-x(n)));
    dx(n) = dy(n) * sigmoid * (1 + x(n) * (1 - sigmoid));
  }
}

}  // namespace strata
