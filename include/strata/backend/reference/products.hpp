// linear and its two gradients.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/reference/context.hpp>

namespace strata {

template <class S>
void linear(reference<S>&, input<S, 2> x, input<S, 2> weight, input<S, 1> bias, output<S, 2> y, update mode) {
  for (index r = 0; r < y.shape[0]; ++r)
    for (index n = 0; n < y.shape[1]; ++n) {
      S sum = bias ? bias(n) : S{0};
      for (index k = 0; k < x.shape[1]; ++k) sum += x(r, k) * weight(n, k);
      y(r, n) = mode == update::add ? y(r, n) + sum : sum;
    }
}

template <class S>
void linear_backward_input(reference<S>&, input<S, 2> dy, input<S, 2> weight, output<S, 2> dx, update mode) {
  for (index r = 0; r < dx.shape[0]; ++r)
    for (index k = 0; k < dx.shape[1]; ++k) {
      S sum = 0;
      for (index n = 0; n < dy.shape[1]; ++n) sum += dy(r, n) * weight(n, k);
      dx(r, k) = mode == update::add ? dx(r, k) + sum : sum;
    }
}

template <class S>
void linear_backward_weight(reference<S>&, input<S, 2> dy, input<S, 2> x, output<S, 2> dweight, output<S, 1> dbias) {
  for (index r = 0; r < dy.shape[0]; ++r)
    for (index n = 0; n < dy.shape[1]; ++n) {
      for (index k = 0; k < x.shape[1]; ++k) dweight(n, k) += dy(r, n) * x(r, k);
      if (dbias) dbias(n) += dy(r, n);
    }
}

}  // namespace strata
