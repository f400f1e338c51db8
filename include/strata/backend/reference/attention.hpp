// attention, its gradient and one step of incremental attention.
// Shapes: qkv [B n, 3 H E] -> y [B n, H E], log_sum_exp [B,H,n]; backend/backend.hpp says what a row holds.
// Source: RoFormer, arXiv 2104.09864; xPos, arXiv 2212.10554; FlashAttention, arXiv 2205.14135 (log_sum_exp,
// backward).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {
namespace reference_detail {

/// Rotates the pairs (x[e], x[e + E/2]) of every query and key; `sign` -1 is the transposed map.
template <class S>
void rotate(const attention_shape& shape, input<S, 3> table, output<S, 2> qkv, int sign) {
  const index_type half = shape.head_dim / 2;
  for (index_type r = 0; r < qkv.shape[0]; ++r) {
    const index_type position = r % shape.length / shape.dilation;
    for (index_type which = 0; which < 2; ++which)
      for (index_type h = 0; h < shape.heads; ++h)
        for (index_type e = 0; e < half; ++e) {
          S& first = qkv(r, which * shape.dim() + h * shape.head_dim + e);
          S& second = qkv(r, which * shape.dim() + h * shape.head_dim + e + half);
          const S cosine = table(2 * which, position, e);
          const S sine = static_cast<S>(sign) * table(2 * which + 1, position, e);
          const S rotated = first * cosine - second * sine;
          second = second * cosine + first * sine;
          first = rotated;
        }
  }
}

/// A copy of qkv with queries and keys rotated.
template <class S>
std::vector<S> rotated(const attention_shape& shape, input<S, 3> table, input<S, 2> qkv) {
  std::vector<S> copy(qkv.data, qkv.data + qkv.size());
  if (table) rotate<S>(shape, table, {copy.data(), qkv.shape}, 1);
  return copy;
}

}  // namespace reference_detail

template <class S>
void attention(reference<S>&, const attention_shape& shape, input<S, 3> table, input<S, 2> unrotated, output<S, 2> y,
               output<S, 3> log_sum_exp) {
  const std::vector<S> memory = reference_detail::rotated<S>(shape, table, unrotated);
  const view<const S, 2> qkv{memory.data(), unrotated.shape};
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim();
  std::vector<S> score(static_cast<std::size_t>(shape.length / shape.dilation + 1));
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h)
      for (index_type i = 0; i < shape.length; ++i) {
        const index_type row = b * shape.length + i, channel = h * shape.head_dim;
        const index_type keys = std::min(i / shape.dilation + 1, shape.span);
        S largest = -std::numeric_limits<S>::infinity();
        for (index_type j = 0; j < keys; ++j) {
          S dot = 0;
          for (index_type e = 0; e < shape.head_dim; ++e)
            dot += qkv(row, channel + e) * qkv(row - j * shape.dilation, dim + channel + e);
          score[j] = dot * scale;
          largest = std::max(largest, score[j]);
        }
        S sum = 0;
        for (index_type j = 0; j < keys; ++j) sum += score[j] = std::exp(score[j] - largest);
        for (index_type e = 0; e < shape.head_dim; ++e) {
          S mixed = 0;
          for (index_type j = 0; j < keys; ++j)
            mixed += score[j] * qkv(row - j * shape.dilation, 2 * dim + channel + e);
          y(row, channel + e) = mixed / sum;
        }
        log_sum_exp(b, h, i) = largest + std::log(sum);
      }
}

template <class S>
void attention_backward(reference<S>&, const attention_shape& shape, input<S, 3> table, input<S, 2> unrotated,
                        input<S, 2> y, input<S, 3> log_sum_exp, input<S, 2> dy, output<S, 2> dqkv) {
  const std::vector<S> memory = reference_detail::rotated<S>(shape, table, unrotated);
  const view<const S, 2> qkv{memory.data(), unrotated.shape};
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim();
  std::fill(dqkv.data, dqkv.data + dqkv.size(), S{0});
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h)
      for (index_type i = 0; i < shape.length; ++i) {
        const index_type row = b * shape.length + i, channel = h * shape.head_dim;
        const index_type keys = std::min(i / shape.dilation + 1, shape.span);
        S along = 0;  // sum over keys of weight times its gradient
        for (index_type e = 0; e < shape.head_dim; ++e) along += y(row, channel + e) * dy(row, channel + e);
        for (index_type j = 0; j < keys; ++j) {
          const index_type other = row - j * shape.dilation;
          S dot = 0, dweight = 0;
          for (index_type e = 0; e < shape.head_dim; ++e) {
            dot += qkv(row, channel + e) * qkv(other, dim + channel + e);
            dweight += dy(row, channel + e) * qkv(other, 2 * dim + channel + e);
          }
          const S weight = std::exp(dot * scale - log_sum_exp(b, h, i));
          const S dscore = weight * (dweight - along) * scale;
          for (index_type e = 0; e < shape.head_dim; ++e) {
            dqkv(row, channel + e) += dscore * qkv(other, dim + channel + e);
            dqkv(other, dim + channel + e) += dscore * qkv(row, channel + e);
            dqkv(other, 2 * dim + channel + e) += weight * dy(row, channel + e);
          }
        }
      }
  if (table) reference_detail::rotate<S>(shape, table, dqkv, -1);
}

template <class S>
void attention_step(reference<S>&, const attention_shape& shape, index_type count, input<S, 2> qkv, input<S, 3> table,
                    output<S, 3> keys, output<S, 3> values, output<S, 2> y) {
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim(), half = shape.head_dim / 2, seen = std::min(count + 1, shape.span);
  std::vector<S> score(static_cast<std::size_t>(seen));
  for (index_type b = 0; b < shape.batch; ++b) {
    for (index_type d = 0; d < dim; ++d) {
      keys(b, count % shape.span, d) = qkv(b, dim + d);
      values(b, count % shape.span, d) = qkv(b, 2 * dim + d);
    }
    for (index_type h = 0; h < shape.heads; ++h) {
      const index_type channel = h * shape.head_dim;
      S largest = -std::numeric_limits<S>::infinity(), sum = 0;
      for (index_type j = 0; j < seen; ++j) {  // j is the distance: the rotation depends on nothing else
        const index_type slot = (count - j) % shape.span;
        S dot = 0;
        for (index_type e = channel; e < channel + half; ++e) {
          const S q1 = qkv(b, e), q2 = qkv(b, e + half), k1 = keys(b, slot, e), k2 = keys(b, slot, e + half);
          dot += (q1 * k1 + q2 * k2) * table(0, j, e - channel) + (q1 * k2 - q2 * k1) * table(1, j, e - channel);
        }
        score[j] = dot * scale;
        largest = std::max(largest, score[j]);
      }
      for (index_type j = 0; j < seen; ++j) sum += score[j] = std::exp(score[j] - largest);
      for (index_type e = channel; e < channel + shape.head_dim; ++e) {
        S mixed = 0;
        for (index_type j = 0; j < seen; ++j) mixed += score[j] * values(b, (count - j) % shape.span, e);
        y(b, e) = mixed / sum;
      }
    }
  }
}

}  // namespace strata
