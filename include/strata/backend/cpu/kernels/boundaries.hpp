// boundary_probability, smooth, their gradients, confidence_backward and boundary_ratio.
// Shapes: query, key, x [B,n,D]; p, share [B,n].
// Source: backend/backend.hpp. Threads own rows or columns of the output, so sums have a fixed order.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline float dot_of_rows(const float* x, const float* y, index_type dim) {
  return sum_over(dim, [=](index_type d, auto load) { return load(x + d) * load(y + d); });
}
inline float length_of_row(const float* x, index_type dim) {
  return std::max(std::sqrt(dot_of_rows(x, x, dim)), static_cast<float>(least_length));
}
inline float clamped_share(float share) {
  return std::clamp(share, static_cast<float>(least_share), static_cast<float>(1 - least_share));
}

inline void boundary_probability(cpu& backend, input<float, 3> query, input<float, 3> key, output<float, 2> p) {
  const index_type length = query.shape[1], dim = query.shape[2];
  backend.parallel(p.size(), 6 * dim, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      const float *q = query.data + r * dim, *k = key.data + (r - 1) * dim;
      p.data[r] = r % length == 0
                      ? 1.f
                      : 0.5f - 0.5f * dot_of_rows(q, k, dim) / (length_of_row(q, dim) * length_of_row(k, dim));
    }
  });
}

inline void boundary_probability_backward(cpu& backend, input<float, 3> query, input<float, 3> key, input<float, 2> dp,
                                          output<float, 3> dquery, output<float, 3> dkey) {
  const index_type length = query.shape[1], dim = query.shape[2];
  // Pair r is the query at r and the key before it. The first query and the last key of a text are in none.
  backend.parallel(dp.size(), 12 * dim, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      if (r % length == 0) {
        std::fill_n(dquery.data + r * dim, dim, 0.f);
        std::fill_n(dkey.data + (r + length - 1) * dim, dim, 0.f);
        continue;
      }
      const float *q = query.data + r * dim, *k = key.data + (r - 1) * dim;
      float *dq = dquery.data + r * dim, *dk = dkey.data + (r - 1) * dim;
      const float of_query = 1 / length_of_row(q, dim), of_key = 1 / length_of_row(k, dim);
      const float cosine = dot_of_rows(q, k, dim) * of_query * of_key, slope = -0.5f * dp.data[r];
      vector::for_each(dim, [&](index_type d, auto load, auto store) {
        const vector::floats own = load(q + d) * of_query, before = load(k + d) * of_key;
        store(dq + d, (before - own * cosine) * (slope * of_query));
        store(dk + d, (own - before * cosine) * (slope * of_key));
      });
    }
  });
}

inline void smooth(cpu& backend, input<float, 2> share, input<float, 3> x, output<float, 3> y) {
  const auto [batch, length, dim] = x.shape;
  backend.parallel(
      dim, 4 * batch * length,
      [&, batch = batch, length = length, dim = dim](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          for (index_type b = 0; b < batch; ++b) {
            vector::floats kept{};
            for (index_type i = 0; i < length; ++i) {
              const index_type row = b * length + i, at = row * dim + begin + n;
              const float own = clamped_share(share.data[row]);
              kept = load(x.data + at) * own + kept * (1 - own);
              store(y.data + at, kept);
            }
          }
        });
      },
      vector::lanes);
}

inline void smooth_backward(cpu& backend, input<float, 2> share, input<float, 3> x, input<float, 3> y,
                            input<float, 3> dy, output<float, 3> dx, output<float, 2> dshare) {
  const auto [batch, length, dim] = x.shape;
  // First dx is the whole gradient by y.
  backend.parallel(
      dim, 4 * batch * length,
      [&, batch = batch, length = length, dim = dim](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          for (index_type b = 0; b < batch; ++b) {
            vector::floats later{};
            for (index_type i = length - 1; i >= 0; --i) {
              const index_type row = b * length + i, at = row * dim + begin + n;
              const vector::floats slope = load(dy.data + at) + later;
              store(dx.data + at, slope);
              later = slope * (1 - clamped_share(share.data[row]));
            }
          }
        });
      },
      vector::lanes);
  backend.parallel(batch * length, 4 * dim, [&, length = length, dim = dim](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      float* slope = dx.data + r * dim;
      const float own = clamped_share(share.data[r]);
      const float *here = x.data + r * dim, *before = y.data + (r - 1) * dim;
      dshare.data[r] = own != share.data[r]
                           ? 0.f
                           : dot_of_rows(slope, here, dim) - (r % length == 0 ? 0.f : dot_of_rows(slope, before, dim));
      vector::for_each(dim, [&](index_type d, auto load, auto store) { store(slope + d, load(slope + d) * own); });
    }
  });
}

inline void confidence_backward(cpu& backend, input<float, 1> p, input<float, 2> y, input<float, 2> dy,
                                output<float, 1> dp) {
  const index_type dim = y.shape[1];
  backend.parallel(y.shape[0], 2 * dim, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      const float dot = dot_of_rows(y.data + r * dim, dy.data + r * dim, dim);
      dp(r) += begins_position(p(r)) ? dot : -dot;
    }
  });
}

inline void boundary_ratio(cpu&, input<float, 1> p, view<const token, 1> ids, double wanted, float scale,
                           output<float, 1> loss, output<float, 1> dp) {
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
  loss(0) += static_cast<float>(terms.value(mean / count));
  if (!dp) return;
  const float slope = scale * static_cast<float>(terms.slope() / count);
  for (index_type r = 0; r < p.size(); ++r)
    if (counts(r)) dp(r) += slope;
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
