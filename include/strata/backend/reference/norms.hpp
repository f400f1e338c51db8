// rms_norm, layer_norm over the token-shifted input, and their gradients.
// Shapes: x [B,n,D] -> y [B,n,D]; factor, mean [B n].
// Source: Zhang and Sennrich, arXiv 1910.07467; Ba et al., arXiv 1607.06450; token shift: RWKV, arXiv 2305.13048.
#pragma once

#include <algorithm>
#include <cmath>

#include <strata/backend/reference/context.hpp>

// Sums over channels are in double: float sums of wide rows lose their last digits.
namespace strata::inline STRATA_ABI {
namespace reference_detail {

/// The position from which channel `d` of token-shifted position `i` comes, or -1 for the zeros before the sequence.
inline index_type shifted_position(index_type i, index_type d, index_type dim, index_type shift) {
  return shift == 0 || d < (dim + 1) / 2 ? i : (i >= shift ? i - shift : -1);
}

template <class S>
S shifted(input<S, 3> x, index_type b, index_type i, index_type d, index_type shift) {
  const index_type source = shifted_position(i, d, x.shape[2], shift);
  return source < 0 ? S{0} : x(b, source, d);
}

template <class S>
void add_shifted(output<S, 3> dx, index_type b, index_type i, index_type d, index_type shift, S value) {
  const index_type source = shifted_position(i, d, dx.shape[2], shift);
  if (source >= 0) dx(b, source, d) += value;
}

}  // namespace reference_detail

template <class S>
void rms_norm(reference<S>&, input<S, 3> x, input<S, 1> gain, int shift, output<S, 3> y, output<S, 1> factor) {
  using reference_detail::shifted;
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      double squares = 0;
      for (index_type d = 0; d < dim; ++d) {
        const double value = static_cast<double>(shifted<S>(x, b, i, d, shift));
        squares += value * value;
      }
      const S f = std::sqrt(static_cast<S>(dim)) / std::max(static_cast<S>(std::sqrt(squares)), S(1e-12));
      for (index_type d = 0; d < dim; ++d) y(b, i, d) = shifted<S>(x, b, i, d, shift) * f * gain(d);
      factor(b * length + i) = f;
    }
}

template <class S>
void rms_norm_backward(reference<S>&, input<S, 3> x, input<S, 1> gain, int shift, input<S, 1> factor, input<S, 3> dy,
                       output<S, 3> dx, output<S, 1> dgain) {
  using reference_detail::shifted;
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      const S f = factor(b * length + i);
      double exact = 0;
      for (index_type d = 0; d < dim; ++d)
        exact += static_cast<double>(dy(b, i, d) * gain(d) * shifted<S>(x, b, i, d, shift));
      const S along = static_cast<S>(exact);
      for (index_type d = 0; d < dim; ++d) {
        const S value = shifted<S>(x, b, i, d, shift);
        const S gradient = f * (dy(b, i, d) * gain(d) - value * along * f * f / static_cast<S>(dim));
        reference_detail::add_shifted<S>(dx, b, i, d, shift, gradient);
        dgain(d) += dy(b, i, d) * value * f;
      }
    }
}

template <class S>
void layer_norm(reference<S>&, input<S, 3> x, input<S, 1> gain, input<S, 1> bias, int shift, output<S, 3> y,
                output<S, 1> factor, output<S, 1> mean) {
  using reference_detail::shifted;
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      double sum = 0, squares = 0;
      for (index_type d = 0; d < dim; ++d) sum += static_cast<double>(shifted<S>(x, b, i, d, shift));
      const S m = static_cast<S>(sum / static_cast<double>(dim));
      for (index_type d = 0; d < dim; ++d) {
        const double centred = static_cast<double>(shifted<S>(x, b, i, d, shift) - m);
        squares += centred * centred;
      }
      const S f = 1 / std::sqrt(static_cast<S>(squares / static_cast<double>(dim)) + S(1e-5));
      for (index_type d = 0; d < dim; ++d) y(b, i, d) = (shifted<S>(x, b, i, d, shift) - m) * f * gain(d) + bias(d);
      factor(b * length + i) = f;
      mean(b * length + i) = m;
    }
}

template <class S>
void layer_norm_backward(reference<S>&, input<S, 3> x, input<S, 1> gain, int shift, input<S, 1> factor,
                         input<S, 1> mean, input<S, 3> dy, output<S, 3> dx, output<S, 1> dgain, output<S, 1> dbias) {
  using reference_detail::shifted;
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      const S f = factor(b * length + i), m = mean(b * length + i);
      double exact_sum = 0, exact_along = 0;
      for (index_type d = 0; d < dim; ++d) {
        exact_sum += static_cast<double>(dy(b, i, d) * gain(d));
        exact_along += static_cast<double>(dy(b, i, d) * gain(d) * (shifted<S>(x, b, i, d, shift) - m) * f);
      }
      const S sum = static_cast<S>(exact_sum), along = static_cast<S>(exact_along);
      for (index_type d = 0; d < dim; ++d) {
        const S normed = (shifted<S>(x, b, i, d, shift) - m) * f;
        const S gradient = f * (dy(b, i, d) * gain(d) - (sum + normed * along) / static_cast<S>(dim));
        reference_detail::add_shifted<S>(dx, b, i, d, shift, gradient);
        dgain(d) += dy(b, i, d) * normed;
        dbias(d) += dy(b, i, d);
      }
    }
}

}  // namespace strata
