// linear and its two gradients; linear with weights in bfloat16 or int8.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N].
// Source: backend/backend.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

namespace reference_detail {

/// y[R,N] = or += x[R,K] weight^T + bias[N], where weight(n, k) is one number.
template <class S, class Weight>
void multiply(input<S, 2> x, Weight weight, input<S, 1> bias, output<S, 2> y, update mode) {
  for (index_type r = 0; r < y.shape[0]; ++r)
    for (index_type n = 0; n < y.shape[1]; ++n) {
      S sum = bias ? bias(n) : S{0};
      for (index_type k = 0; k < x.shape[1]; ++k) sum += x(r, k) * weight(n, k);
      y(r, n) = mode == update::add ? y(r, n) + sum : sum;
    }
}

}  // namespace reference_detail

template <class S>
void linear(reference<S>&, input<S, 2> x, input<S, 2> weight, input<S, 1> bias, output<S, 2> y, update mode) {
  reference_detail::multiply<S>(x, weight, bias, y, mode);
}

template <class S>
void linear_backward_input(reference<S>&, input<S, 2> dy, input<S, 2> weight, output<S, 2> dx, update mode) {
  for (index_type r = 0; r < dx.shape[0]; ++r)
    for (index_type k = 0; k < dx.shape[1]; ++k) {
      S sum = 0;
      for (index_type n = 0; n < dy.shape[1]; ++n) sum += dy(r, n) * weight(n, k);
      dx(r, k) = mode == update::add ? dx(r, k) + sum : sum;
    }
}

template <class S>
void linear_backward_weight(reference<S>&, input<S, 2> dy, input<S, 2> x, output<S, 2> dweight, output<S, 1> dbias) {
  for (index_type r = 0; r < dy.shape[0]; ++r)
    for (index_type n = 0; n < dy.shape[1]; ++n) {
      for (index_type k = 0; k < x.shape[1]; ++k) dweight(n, k) += dy(r, n) * x(r, k);
      if (dbias) dbias(n) += dy(r, n);
    }
}

template <class S>
void pack_bfloat16(reference<S>&, input<S, 1> x, view<bfloat16, 1> packed) {
  for (index_type n = 0; n < x.size(); ++n) packed(n) = to_bfloat16(static_cast<float>(x(n)));
}

template <class S>
void pack_int8(reference<S>&, input<S, 2> weight, view<std::int8_t, 2> packed, output<S, 1> scale) {
  for (index_type n = 0; n < weight.shape[0]; ++n) {
    S largest = 0;
    bool finite = true;
    for (index_type k = 0; k < weight.shape[1]; ++k) {
      finite = finite && std::isfinite(weight(n, k));
      largest = std::max(largest, std::abs(weight(n, k)));
    }
    scale(n) = finite ? largest / 127 : std::numeric_limits<S>::quiet_NaN();
    for (index_type k = 0; k < weight.shape[1]; ++k)  // rounding may make a scale 0 or much too small
      packed(n, k) = scale(n) > 0
                         ? static_cast<std::int8_t>(std::clamp<S>(std::nearbyint(weight(n, k) / scale(n)), -127, 127))
                         : std::int8_t{0};
  }
}

template <class S>
void linear_bfloat16(reference<S>&, input<S, 2> x, view<const bfloat16, 2> packed, input<S, 1> bias, output<S, 2> y,
                     update mode) {
  const auto weight = [&](index_type n, index_type k) { return static_cast<S>(to_float(packed(n, k))); };
  reference_detail::multiply<S>(x, weight, bias, y, mode);
}

template <class S>
void linear_int8(reference<S>&, input<S, 2> x, view<const std::int8_t, 2> packed, input<S, 1> scale, input<S, 1> bias,
                 output<S, 2> y, update mode) {
  const auto weight = [&](index_type n, index_type k) { return static_cast<S>(packed(n, k)) * scale(n); };
  reference_detail::multiply<S>(x, weight, bias, y, mode);
}

}  // namespace strata
