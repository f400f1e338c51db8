// boundary_probability, smooth, their gradients, confidence_backward and boundary_ratio.
// Shapes: query, key, x [B,n,D]; p, share [B,n].
// Source: H-Net, arXiv 2507.07955.
#pragma once

#include <algorithm>
#include <cmath>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {
namespace reference_detail {

template <class S>
S length_of_row(input<S, 3> x, index_type b, index_type i) {
  S squares{0};
  for (index_type d = 0; d < x.shape[2]; ++d) squares += x(b, i, d) * x(b, i, d);
  return std::max(std::sqrt(squares), S(least_length));
}
/// The cosine of the query at `i` and the key before it.
template <class S>
S cosine_before(input<S, 3> query, input<S, 3> key, index_type b, index_type i) {
  S dot{0};
  for (index_type d = 0; d < query.shape[2]; ++d) dot += query(b, i, d) * key(b, i - 1, d);
  return dot / (length_of_row<S>(query, b, i) * length_of_row<S>(key, b, i - 1));
}
template <class S>
S clamped_share(S share) {
  return std::clamp(share, S(least_share), S(1 - least_share));
}

}  // namespace reference_detail

template <class S>
void boundary_probability(reference<S>&, input<S, 3> query, input<S, 3> key, output<S, 2> p) {
  for (index_type b = 0; b < p.shape[0]; ++b)
    for (index_type i = 0; i < p.shape[1]; ++i)
      p(b, i) = i == 0 ? S{1} : (1 - reference_detail::cosine_before<S>(query, key, b, i)) / 2;
}

template <class S>
void boundary_probability_backward(reference<S>&, input<S, 3> query, input<S, 3> key, input<S, 2> dp,
                                   output<S, 3> dquery, output<S, 3> dkey) {
  const auto [batch, length, dim] = query.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type d = 0; d < dim; ++d) dquery(b, 0, d) = dkey(b, length - 1, d) = 0;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 1; i < length; ++i) {
      const S cosine = reference_detail::cosine_before<S>(query, key, b, i), slope = -dp(b, i) / 2;
      const S of_query = reference_detail::length_of_row<S>(query, b, i);
      const S of_key = reference_detail::length_of_row<S>(key, b, i - 1);
      for (index_type d = 0; d < dim; ++d) {
        const S q = query(b, i, d) / of_query, k = key(b, i - 1, d) / of_key;
        dquery(b, i, d) = slope * (k - cosine * q) / of_query;
        dkey(b, i - 1, d) = slope * (q - cosine * k) / of_key;
      }
    }
}

template <class S>
void smooth(reference<S>&, input<S, 2> share, input<S, 3> x, output<S, 3> y) {
  for (index_type b = 0; b < x.shape[0]; ++b)
    for (index_type i = 0; i < x.shape[1]; ++i)
      for (index_type d = 0; d < x.shape[2]; ++d) {
        const S own = reference_detail::clamped_share(share(b, i));
        y(b, i, d) = own * x(b, i, d) + (i == 0 ? S{0} : (1 - own) * y(b, i - 1, d));
      }
}

template <class S>
void smooth_backward(reference<S>&, input<S, 2> share, input<S, 3> x, input<S, 3> y, input<S, 3> dy, output<S, 3> dx,
                     output<S, 2> dshare) {
  const auto [batch, length, dim] = x.shape;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) dshare(b, i) = 0;
  for (index_type b = 0; b < batch; ++b)
    for (index_type d = 0; d < dim; ++d) {
      S later{0};  // what reaches y at i from the positions after it
      for (index_type i = length - 1; i >= 0; --i) {
        const S own = reference_detail::clamped_share(share(b, i)), slope = dy(b, i, d) + later;
        if (own == share(b, i)) dshare(b, i) += slope * (x(b, i, d) - (i == 0 ? S{0} : y(b, i - 1, d)));
        dx(b, i, d) = own * slope;
        later = (1 - own) * slope;
      }
    }
}

template <class S>
void confidence_backward(reference<S>&, input<S, 1> p, input<S, 2> y, input<S, 2> dy, output<S, 1> dp) {
  for (index_type r = 0; r < y.shape[0]; ++r) {
    S dot{0};
    for (index_type d = 0; d < y.shape[1]; ++d) dot += y(r, d) * dy(r, d);
    dp(r) += begins_position(p(r)) ? dot : -dot;
  }
}

template <class S>
void boundary_ratio(reference<S>&, input<S, 1> p, view<const token, 1> ids, double wanted, S scale, output<S, 1> loss,
                    output<S, 1> dp) {
  const auto counts = [&](index_type r) { return !ids || ids(r) >= 0; };
  double begun = 0, mean = 0, count = 0;
  for (index_type r = 0; r < p.size(); ++r) {
    if (!counts(r)) continue;
    count += 1;
    begun += begins_position(p(r)) ? 1 : 0;
    mean += static_cast<double>(p(r));
  }
  if (count == 0) return;
  const boundary_ratio_terms terms(wanted, begun / count);
  loss(0) += static_cast<S>(terms.value(mean / count));
  if (!dp) return;
  for (index_type r = 0; r < p.size(); ++r)
    if (counts(r)) dp(r) += scale * static_cast<S>(terms.slope() / count);
}

}  // namespace strata
