// Attention across two sequences, its gradient and one step of it.
// Shapes: query [B nq, H E], key_value [B nk, 2 H E], bias [H,span] -> y [B nq, H E], log_sum_exp [B,H,nq].
// Source: FlashAttention, arXiv 2205.14135 (log_sum_exp, which merges softmaxes over parts of the keys).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {
namespace reference_detail {

/// One head of one query, y[E], over `score.size()` keys; value(n, e) is the value of key n. update::add includes the
/// softmax already in y and log_sum_exp.
template <class S, class Value>
void attend(const std::vector<S>& score, Value value, index_type head_dim, S* y, S& log_sum_exp, update mode) {
  const S before = mode == update::add ? log_sum_exp : -std::numeric_limits<S>::infinity();
  const S largest = std::max(before, *std::max_element(score.begin(), score.end()));
  S sum = std::exp(before - largest);
  for (S each : score) sum += std::exp(each - largest);
  log_sum_exp = largest + std::log(sum);
  for (index_type e = 0; e < head_dim; ++e) {
    S mixed = mode == update::add ? std::exp(before - log_sum_exp) * y[e] : S{0};
    for (std::size_t n = 0; n < score.size(); ++n) mixed += std::exp(score[n] - log_sum_exp) * value(n, e);
    y[e] = mixed;
  }
}

}  // namespace reference_detail

template <class S>
void cross_attention(reference<S>&, const cross_attention_shape& shape, input<S, 2> query, input<S, 2> key_value,
                     input<S, 2> bias, output<S, 2> y, output<S, 3> log_sum_exp, update mode) {
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim();
  std::vector<S> score;
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h)
      for (index_type i = 0; i < shape.queries; ++i) {
        const index_type row = b * shape.queries + i, channel = h * shape.head_dim;
        const index_type newest = shape.newest(i), oldest = shape.oldest(i), first = b * shape.keys + oldest;
        score.clear();
        for (index_type j = oldest; j <= newest; ++j) {
          S dot = 0;
          for (index_type e = channel; e < channel + shape.head_dim; ++e)
            dot += query(row, e) * key_value(b * shape.keys + j, e);
          score.push_back(dot * scale + bias(h, newest - j));
        }
        reference_detail::attend<S>(
            score,
            [&](std::size_t n, index_type e) {
              return key_value(first + static_cast<index_type>(n), dim + channel + e);
            },
            shape.head_dim, &y(row, channel), log_sum_exp(b, h, i), mode);
      }
}

template <class S>
void cross_attention_backward(reference<S>&, const cross_attention_shape& shape, input<S, 2> query,
                              input<S, 2> key_value, input<S, 2> bias, input<S, 2> y, input<S, 3> log_sum_exp,
                              input<S, 2> dy, output<S, 2> dquery, output<S, 2> dkey_value, output<S, 2> dbias) {
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim();
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h)
      for (index_type i = 0; i < shape.queries; ++i) {
        const index_type row = b * shape.queries + i, channel = h * shape.head_dim, newest = shape.newest(i);
        S along = 0;  // sum over the keys of all calls: weight times its gradient
        for (index_type e = channel; e < channel + shape.head_dim; ++e) along += y(row, e) * dy(row, e);
        for (index_type j = shape.oldest(i); j <= newest; ++j) {
          const index_type other = b * shape.keys + j;
          S dot = 0, dweight = 0;
          for (index_type e = channel; e < channel + shape.head_dim; ++e) {
            dot += query(row, e) * key_value(other, e);
            dweight += dy(row, e) * key_value(other, dim + e);
          }
          const S weight = std::exp(dot * scale + bias(h, newest - j) - log_sum_exp(b, h, i));
          const S dscore = weight * (dweight - along);
          dbias(h, newest - j) += dscore;
          for (index_type e = channel; e < channel + shape.head_dim; ++e) {
            dquery(row, e) += dscore * scale * key_value(other, e);
            dkey_value(other, e) += dscore * scale * query(row, e);
            dkey_value(other, dim + e) += weight * dy(row, e);
          }
        }
      }
}

template <class S>
void cross_attention_step(reference<S>&, const cross_attention_shape& shape, index_type count, input<S, 2> query,
                          input<S, 3> ring, input<S, 2> bias, output<S, 2> y, output<S, 3> log_sum_exp, update mode) {
  const S scale = 1 / std::sqrt(static_cast<S>(shape.head_dim));
  const index_type dim = shape.dim(), seen = std::min(count, shape.span);
  std::vector<S> score(static_cast<std::size_t>(seen));
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h) {
      const index_type channel = h * shape.head_dim;
      for (index_type distance = 0; distance < seen; ++distance) {
        S dot = 0;
        for (index_type e = channel; e < channel + shape.head_dim; ++e)
          dot += query(b, e) * ring(b, (count - 1 - distance) % shape.span, e);
        score[static_cast<std::size_t>(distance)] = dot * scale + bias(h, distance);
      }
      reference_detail::attend<S>(
          score,
          [&](std::size_t n, index_type e) {
            return ring(b, (count - 1 - static_cast<index_type>(n)) % shape.span, dim + channel + e);
          },
          shape.head_dim, &y(b, channel), log_sum_exp(b, h, 0), mode);
    }
}

}  // namespace strata
