// Gradients against central differences, in double on the reference backend.
#pragma once

#include <vector>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace strata {

using exact = reference<double>;

/// Errors of this size are rounding, 1e-16 / 1e-5, and the third derivative, (1e-5)^2.
inline constexpr double difference_tolerance = 1e-7;

/// The relative error of `gradient` against the differences of `loss()` in every element of `x`.
template <int Rank, class Loss>
double difference_error(const view<double, Rank>& x, const view<double, Rank>& gradient, Loss loss) {
  constexpr double step = 1e-5;
  std::vector<double> slopes;
  for (index_type n = 0; n < x.size(); ++n) {
    const double kept = x.data[n];
    x.data[n] = kept + step;
    const double above = loss();
    x.data[n] = kept - step;
    slopes.push_back((above - loss()) / (2 * step));
    x.data[n] = kept;
  }
  return relative_error({gradient.data, gradient.data + gradient.size()}, slopes);
}

/// The sum of y dy: a loss whose gradient with respect to y is dy.
template <int Rank>
double projection(const view<double, Rank>& y, const view<double, Rank>& dy) {
  double sum = 0;
  for (index_type n = 0; n < y.size(); ++n) sum += y.data[n] * dy.data[n];
  return sum;
}

}  // namespace strata
