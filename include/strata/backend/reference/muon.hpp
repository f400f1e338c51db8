// muon.
// Shapes: matrices [R,C] at their places in flat buffers [N]; m = min(R, C), n = max(R, C).
// Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks"; NorMuon, arXiv 2510.05491.
#pragma once

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include <strata/backend/reference/optimizer.hpp>

namespace strata::inline STRATA_ABI {

/// x[R,C] = nearly the orthogonal matrix that is nearest to x.
template <class S>
void orthogonalise(std::vector<S>& x, const matrix_place& place, int iterations) {
  const index_type m = place.smaller(), n = place.larger();
  double squares = 0;
  for (const S value : x) squares += static_cast<double>(value) * static_cast<double>(value);
  const S norm = static_cast<S>(std::sqrt(squares) + newton_schulz::epsilon);
  for (S& value : x) value /= norm;

  const S a = S(newton_schulz::a), b = S(newton_schulz::b), c = S(newton_schulz::c);
  const auto number = [](index_type position) { return static_cast<std::size_t>(position); };
  // Where element (i, k) of X[m,n] lies: the smaller side comes first.
  const auto at = [&](index_type i, index_type k) {
    return number(place.rows > place.columns ? k * place.columns + i : i * place.columns + k);
  };
  std::vector<S> gram(number(m * m)), factor(number(m * m)), next(x.size());  // A[m,m], b A + c A A, and the next X
  for (int iteration = 0; iteration < iterations; ++iteration) {
    for (index_type i = 0; i < m; ++i)
      for (index_type j = 0; j < m; ++j) {
        S sum = 0;
        for (index_type k = 0; k < n; ++k) sum += x[at(i, k)] * x[at(j, k)];
        gram[number(i * m + j)] = sum;
      }
    for (index_type i = 0; i < m; ++i)
      for (index_type j = 0; j < m; ++j) {
        S sum = 0;
        for (index_type k = 0; k < m; ++k) sum += gram[number(i * m + k)] * gram[number(k * m + j)];
        factor[number(i * m + j)] = b * gram[number(i * m + j)] + c * sum;
      }
    for (index_type i = 0; i < m; ++i)
      for (index_type k = 0; k < n; ++k) {
        S sum = a * x[at(i, k)];
        for (index_type j = 0; j < m; ++j) sum += factor[number(i * m + j)] * x[at(j, k)];
        next[at(i, k)] = sum;
      }
    std::swap(x, next);
  }
}

/// Divides the rows of x[R,C] by the roots of their mean squares of late, mean_square[R], then restores the norm of x.
template <class S>
void normalise_rows(std::vector<S>& x, const matrix_place& place, double beta2, S* mean_square) {
  double before = 0, after = 0;
  for (index_type row = 0; row < place.rows; ++row) {
    S* const own = x.data() + row * place.columns;
    double squares = 0;
    for (index_type column = 0; column < place.columns; ++column)
      squares += static_cast<double>(own[column]) * static_cast<double>(own[column]);
    before += squares;
    mean_square[row] =
        S(beta2) * mean_square[row] + S(1 - beta2) * static_cast<S>(squares / static_cast<double>(place.columns));
    const S root = std::sqrt(mean_square[row]) + S(normuon_epsilon);
    for (index_type column = 0; column < place.columns; ++column) {
      own[column] /= root;
      after += static_cast<double>(own[column]) * static_cast<double>(own[column]);
    }
  }
  const S restored = after > 0 ? static_cast<S>(std::sqrt(before / after)) : S{0};
  for (S& value : x) value *= restored;
}

template <class S>
void muon(reference<S>&, const muon_settings& settings, std::span<const matrix_place> matrices, input<S, 1> gradient,
          input<S, 1> measures, output<S, 1> weight, output<S, 1> first_moment, output<S, 1> second_moment) {
  if (!reference_detail::all_finite<S>(measures)) return;
  const S clip = S(clip_factor(settings.max_norm, static_cast<double>(measures(0))));
  const S momentum = S(settings.momentum), rest = S(1 - settings.momentum);
  const S kept = S(1 - settings.learning_rate * settings.weight_decay);
  for (const matrix_place& place : matrices) {
    if (place.size() == 0) continue;
    std::vector<S> update(static_cast<std::size_t>(place.size()));
    S* const own = weight.data + place.offset;
    S* const mean = first_moment.data + place.offset;
    for (index_type n = 0; n < place.size(); ++n) {
      const S g = gradient(place.offset + n) * clip;
      mean[n] = momentum * mean[n] + rest * g;
      update[static_cast<std::size_t>(n)] = momentum * mean[n] + rest * g;
    }
    orthogonalise(update, place, settings.iterations);
    if (settings.normalised) normalise_rows(update, place, settings.beta2, second_moment.data + place.offset);
    const S rate = S(settings.learning_rate * muon_scale(place));
    for (index_type n = 0; n < place.size(); ++n) own[n] = kept * own[n] - rate * update[static_cast<std::size_t>(n)];
  }
}

}  // namespace strata
