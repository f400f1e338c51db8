// route, add_routed, add_routed_backward.
// Shapes: scores [B,n] -> rows, gate [B,m]; x [R,D] -> y [N,D].
// Source: after CoLT5, arXiv 2303.09752.
#pragma once

#include <algorithm>
#include <cmath>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void route(reference<S>&, double capacity, int dilation, index_type first, input<S, 2> scores, output<S, 2> budget,
           view<token, 2> rows, output<S, 2> gate) {
  const index_type positions = scores.shape[1];
  for (index_type b = 0; b < rows.shape[0]; ++b) {
    index_type selected = 0;
    for (int sequence = 0; sequence < dilation; ++sequence)
      for (index_type i = sequence, j = first; i < positions; i += dilation, ++j) {
        // Stores the budget left, not the budget used: it stays exact in a float, or stops at 2^24, for texts of any
        // length.
        S& left = budget(sequence, b);
        left += static_cast<S>(routing_budget(capacity, j + 1) - routing_budget(capacity, j));
        if (!(scores(b, i) > 0 && left >= 1)) continue;
        left -= 1;
        rows(b, selected) = static_cast<token>(b * positions + i);
        gate(b, selected++) = std::tanh(scores(b, i));
      }
    for (; selected < rows.shape[1]; ++selected) {
      rows(b, selected) = -1;
      gate(b, selected) = 0;
    }
  }
}

template <class S>
void add_routed(reference<S>&, view<const token, 1> rows, input<S, 1> gate, input<S, 2> x, output<S, 2> y) {
  for (index_type r = 0; r < x.shape[0]; ++r)
    for (index_type d = 0; d < x.shape[1]; ++d)
      if (rows(r) >= 0) y(rows(r), d) += gate(r) * x(r, d);
}

template <class S>
void add_routed_backward(reference<S>&, view<const token, 1> rows, input<S, 1> gate, input<S, 2> x, input<S, 2> dy,
                         output<S, 2> dx, output<S, 1> dscore) {
  std::fill_n(dscore.data, dscore.size(), S{0});
  for (index_type r = 0; r < x.shape[0]; ++r) {
    S dgate = 0;
    for (index_type d = 0; d < x.shape[1]; ++d) {
      const S slope = rows(r) < 0 ? S{0} : dy(rows(r), d);
      dgate += x(r, d) * slope;
      dx(r, d) = gate(r) * slope;
    }
    if (rows(r) >= 0) dscore(rows(r)) = (1 - gate(r) * gate(r)) * dgate;
  }
}

}  // namespace strata
