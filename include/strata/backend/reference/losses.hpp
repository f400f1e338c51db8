// window_targets, quantize, cross_entropy, cosine_distance, embedding_distance, sigmoid_pairs.
// Shapes: logits [R,V], targets [R]; prediction and embedding [B,n,D] -> loss [1] and gradients;
// x [B,n,D] -> codes [B,m,books].
// Source: docs/model.md; quantize: BEST-RQ, arXiv 2202.01855; edge cases: PyTorch's cross_entropy and normalize
// (1e-12).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void window_targets(reference<S>&, view<const token, 2> ids, int stride, index_type offset, view<token, 3> targets) {
  for (index_type b = 0; b < targets.shape[0]; ++b)
    for (index_type i = 0; i < targets.shape[1]; ++i)
      for (index_type j = 0; j < targets.shape[2]; ++j) {
        const index_type t = i * stride + offset + j;
        targets(b, i, j) = t >= 0 && t < ids.shape[1] ? ids(b, t) : -1;
      }
}

/// LayerNorm's factor changes no direction, so only its mean is needed.
template <class S>
void quantize(reference<S>&, input<S, 3> x, input<S, 3> projections, input<S, 3> codebooks, view<token, 3> codes) {
  const auto [books, dim, width] = projections.shape;
  std::vector<S> projected(static_cast<std::size_t>(width));
  for (index_type b = 0; b < codes.shape[0]; ++b)
    for (index_type i = 0; i < codes.shape[1]; ++i) {
      S mean = 0;
      for (index_type d = 0; d < dim; ++d) mean += x(b, i, d) / static_cast<S>(dim);
      for (index_type book = 0; book < books; ++book) {
        for (index_type k = 0; k < width; ++k) {
          S sum = 0;
          for (index_type d = 0; d < dim; ++d) sum += (x(b, i, d) - mean) * projections(book, d, k);
          projected[static_cast<std::size_t>(k)] = sum;
        }
        S best = -std::numeric_limits<S>::infinity();
        codes(b, i, book) = 0;
        for (index_type c = 0; c < codebooks.shape[1]; ++c) {
          S product = 0;
          for (index_type k = 0; k < width; ++k)
            product += projected[static_cast<std::size_t>(k)] * codebooks(book, c, k);
          if (product > best) {
            best = product;
            codes(b, i, book) = static_cast<token>(c);
          }
        }
      }
    }
}

template <class S>
void cross_entropy(reference<S>&, input<S, 2> logits, view<const token, 1> targets, token ignore,
                   std::type_identity_t<S> scale, output<S, 1> loss, output<S, 2> gradient) {
  const auto [rows, vocabulary] = logits.shape;
  const auto counts = [&](index_type r) { return targets(r) >= 0 && targets(r) != ignore; };
  index_type counted = 0;
  for (index_type r = 0; r < rows; ++r) counted += counts(r);
  double total = 0;
  for (index_type r = 0; r < rows; ++r) {
    S largest = logits(r, 0), sum = 0;
    for (index_type v = 0; v < vocabulary; ++v) largest = std::max(largest, logits(r, v));
    for (index_type v = 0; v < vocabulary; ++v) sum += std::exp(logits(r, v) - largest);
    if (counts(r)) total += std::log(sum) + largest - logits(r, targets(r));
    if (!gradient) continue;
    const S factor = counts(r) ? scale / static_cast<S>(counted) : S{0};
    for (index_type v = 0; v < vocabulary; ++v)
      gradient(r, v) = factor * (std::exp(logits(r, v) - largest) / sum - (v == targets(r) ? 1 : 0));
  }
  loss(0) += counted == 0 ? S{0} : static_cast<S>(total / static_cast<double>(counted));
}

template <class S>
void cosine_distance(reference<S>&, input<S, 3> prediction, input<S, 3> embedding, std::type_identity_t<S> scale,
                     output<S, 1> loss, output<S, 3> dprediction, output<S, 3> dembedding) {
  const auto [batch, length, dim] = prediction.shape;
  const double pairs = static_cast<double>(batch * (length - 1));
  double total = 0;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      if (i + 1 == length) {
        for (index_type d = 0; d < dim && dprediction; ++d) dprediction(b, i, d) = 0;
        continue;
      }
      S xx = 0, yy = 0, xy = 0;
      for (index_type d = 0; d < dim; ++d) {
        xx += prediction(b, i, d) * prediction(b, i, d);
        yy += embedding(b, i + 1, d) * embedding(b, i + 1, d);
        xy += prediction(b, i, d) * embedding(b, i + 1, d);
      }
      const S x_norm = std::max(std::sqrt(xx), S(1e-12)), y_norm = std::max(std::sqrt(yy), S(1e-12));
      const S cosine = xy / (x_norm * y_norm);
      total += cosine;
      if (!dprediction) continue;
      const S factor = -scale / static_cast<S>(pairs);
      for (index_type d = 0; d < dim; ++d) {
        const S x = prediction(b, i, d) / x_norm, y = embedding(b, i + 1, d) / y_norm;
        dprediction(b, i, d) = factor * (y - cosine * x) / x_norm;
        dembedding(b, i + 1, d) += factor * (x - cosine * y) / y_norm;
      }
    }
  loss(0) += pairs == 0 ? S{0} : static_cast<S>(1 - total / pairs);
}

template <class S>
void embedding_distance(reference<S>&, const distance_settings& settings, input<S, 3> prediction, input<S, 3> embedding,
                        index_type first, view<const token, 1> targets, token ignore, std::type_identity_t<S> scale,
                        output<S, 1> loss, output<S, 1> lost, output<S, 3> dprediction, output<S, 3> dembedding) {
  const auto [batch, length, dim] = prediction.shape;
  const S squared = static_cast<S>(settings.squared) / static_cast<S>(dim);
  const S smooth = static_cast<S>(settings.smooth) / static_cast<S>(dim), along = static_cast<S>(settings.cosine);
  index_type counted = 0;
  for (index_type r = 0; r < batch * length; ++r) counted += targets(r) >= 0 && targets(r) != ignore;
  double total = 0;
  for (index_type b = 0; b < batch; ++b)
    for (index_type i = 0; i < length; ++i) {
      const index_type r = b * length + i, e = first + i;
      S distance = 0, xx = 0, yy = 0, xy = 0;
      for (index_type d = 0; d < dim; ++d) {
        const S x = prediction(b, i, d), y = embedding(b, e, d), apart = std::abs(x - y);
        distance += squared * apart * apart + smooth * (apart < 1 ? apart * apart / 2 : apart - S(0.5));
        xx += x * x;
        yy += y * y;
        xy += x * y;
      }
      const S x_norm = std::max(std::sqrt(xx), S(1e-8)), y_norm = std::max(std::sqrt(yy), S(1e-8));
      const S cosine = xy / (x_norm * y_norm);
      distance += along * (1 - cosine);
      const bool counts = targets(r) >= 0 && targets(r) != ignore;
      const S share =
          counts ? static_cast<S>(settings.share * std::exp(-settings.decay * static_cast<double>(lost(r)))) : S{0};
      total += static_cast<double>(share * distance);
      lost(r) += distance;
      if (!dprediction) continue;
      const S factor = counts ? scale * share / static_cast<S>(counted) : S{0};
      for (index_type d = 0; d < dim; ++d) {
        const S apart = prediction(b, i, d) - embedding(b, e, d);
        const S pull = 2 * squared * apart + smooth * std::clamp(apart, S{-1}, S{1});
        const S x = prediction(b, i, d) / x_norm, y = embedding(b, e, d) / y_norm;
        dprediction(b, i, d) = factor * (pull - along * (y - cosine * x) / x_norm);
        if (dembedding) dembedding(b, e, d) -= factor * (pull + along * (x - cosine * y) / y_norm);
      }
    }
  loss(0) += counted == 0 ? S{0} : static_cast<S>(total / static_cast<double>(counted));
}

template <class S>
void sigmoid_pairs(reference<S>&, output<S, 2> cosines, index_type first, input<S, 1> log_scale, input<S, 1> bias,
                   std::type_identity_t<S> scale, output<S, 1> loss, output<S, 1> dlog_scale, output<S, 1> dbias) {
  const auto [rows, columns] = cosines.shape;
  const S slope = std::exp(log_scale(0)), factor = scale / static_cast<S>(columns);
  double total = 0, along = 0, sum = 0;
  for (index_type i = 0; i < rows; ++i)
    for (index_type j = 0; j < columns; ++j) {
      S& cosine = cosines(i, j);
      const S label = first + i == j ? S{1} : S{-1}, z = -label * (slope * cosine + bias(0));
      const S small = std::exp(-std::abs(z));
      total += static_cast<double>(std::max(z, S{0}) + std::log1p(small));  // softplus(z)
      if (!dbias) continue;
      const S dlogit = -label * factor * (z < 0 ? small : S{1}) / (1 + small);  // sigmoid(z)
      along += static_cast<double>(dlogit * slope * cosine);
      sum += static_cast<double>(dlogit);
      cosine = dlogit * slope;
    }
  loss(0) += static_cast<S>(total / static_cast<double>(columns));
  if (!dbias) return;
  dlog_scale(0) += static_cast<S>(along);
  dbias(0) += static_cast<S>(sum);
}

}  // namespace strata
