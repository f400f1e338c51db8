// add_previous, its gradient and its step.
// Shapes: x [B,n,D], share [D] -> y [B,n,D].
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void add_previous(reference<S>&, input<S, 3> x, input<S, 1> share, int shift, output<S, 3> y) {
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i)
      for (index_type d = 0; d < dim; ++d) y(b, i, d) = x(b, i, d) + (i < shift ? S{0} : share(d) * x(b, i - shift, d));
}

template <class S>
void add_previous_backward(reference<S>&, input<S, 3> x, input<S, 1> share, int shift, input<S, 3> dy, output<S, 3> dx,
                           output<S, 1> dshare) {
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i)
      for (index_type d = 0; d < dim; ++d) {
        // Position i of x is read here for the last time, so dx may replace it.
        const bool has_next = i + shift < length;
        if (has_next) dshare(d) += dy(b, i + shift, d) * x(b, i, d);
        dx(b, i, d) = dy(b, i, d) + (has_next ? share(d) * dy(b, i + shift, d) : S{0});
      }
}

template <class S>
void add_previous_step(reference<S>&, input<S, 2> x, input<S, 1> share, output<S, 2> previous, output<S, 2> y) {
  for (index_type b = 0; b < x.shape[0]; ++b)
    for (index_type d = 0; d < x.shape[1]; ++d) {
      y(b, d) = x(b, d) + share(d) * previous(b, d);
      previous(b, d) = x(b, d);
    }
}

}  // namespace strata
