// window_targets, quantize, cross_entropy, cosine_distance, embedding_distance, sigmoid_pairs.
// Shapes: logits [R,V], targets [R]; prediction and embedding [B,n,D] -> loss [1] and gradients;
// x [B,n,D] -> codes [B,m,books].
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void window_targets(cpu& backend, view<const token, 2> ids, int stride, index_type offset,
                           view<token, 3> targets) {
  const index_type positions = targets.shape[1], window = targets.shape[2], length = ids.shape[1];
  backend.parallel(targets.shape[0] * positions, window, [&](index_type begin, index_type end) {
    for (index_type row = begin; row < end; ++row)
      for (index_type j = 0; j < window; ++j) {
        const index_type t = row % positions * stride + offset + j;
        targets.data[row * window + j] = t >= 0 && t < length ? ids(row / positions, t) : -1;
      }
  });
}

inline void quantize(cpu& backend, input<float, 3> x, input<float, 3> projections, input<float, 3> codebooks,
                     view<token, 3> codes) {
  using vector::floats, vector::ints;
  constexpr index_type lanes = vector::lanes;
  constexpr int tile = 4;  // rows at a time: their sums do not wait for each other
  const index_type books = projections.shape[0], dim = projections.shape[1], width = projections.shape[2];
  const index_type count = codebooks.shape[1], kept = codes.shape[1];
  const index_type wide = round_up(width, lanes), many = round_up(count, lanes);

  // Projections [books,D,wide], padded with zeros; codes [books, many / lanes, K, lanes], padded with the last one,
  // which cannot win.
  float* const projection = backend.shared_memory(books * (dim * wide + width * many));
  float* const columns = projection + books * dim * wide;
  for (index_type row = 0; row < books * dim; ++row) {
    std::copy_n(projections.data + row * width, width, projection + row * wide);
    std::fill(projection + row * wide + width, projection + (row + 1) * wide, 0.f);
  }
  for (index_type book = 0; book < books; ++book)
    for (index_type c = 0; c < many; ++c)
      for (index_type k = 0; k < width; ++k)
        columns[(book * many + c / lanes * lanes) * width + k * lanes + c % lanes] =
            codebooks(book, std::min(c, count - 1), k);

  backend.parallel_numbered(
      codes.shape[0] * kept, 2 * books * width * (dim + count), [&](int thread, index_type begin, index_type end) {
        const auto memory = backend.thread_pieces<2>(thread, {tile * dim, tile * wide});
        float *const centred = memory[0], *const projected = memory[1];
        for (index_type first = begin; first < end; first += tile) {
          for (int row = 0; row < tile; ++row) {
            const index_type r = std::min(first + row, end - 1);  // the last tile repeats its last row
            const float* from = x.data + (r / kept * x.shape[1] + r % kept) * dim;
            const float mean =
                sum_over(dim, [&](index_type d, auto load) { return load(from + d); }) / static_cast<float>(dim);
            vector::for_each(dim, [&](index_type d, auto load, auto store) {
              store(centred + row * dim + d, load(from + d) - mean);
            });
          }
          for (index_type book = 0; book < books; ++book) {
            for (index_type k = 0; k < wide; k += lanes) {
              floats total[tile]{};
              for (index_type d = 0; d < dim; ++d) {
                const floats factors = vector::load(projection + (book * dim + d) * wide + k);
                STRATA_UNROLL
                for (int row = 0; row < tile; ++row) total[row] += factors * centred[row * dim + d];
              }
              for (int row = 0; row < tile; ++row) vector::store(projected + row * wide + k, total[row]);
            }
            // Per lane, the largest inner product so far and its code.
            floats best[tile];
            ints code[tile]{}, candidates = vector::count_up();
            for (floats& each : best) each = vector::all(-std::numeric_limits<float>::infinity());
            for (index_type c = 0; c < many; c += lanes) {
              floats total[tile]{};
              for (index_type k = 0; k < width; ++k) {
                const floats column = vector::load(columns + (book * many + c) * width + k * lanes);
                STRATA_UNROLL
                for (int row = 0; row < tile; ++row) total[row] += column * projected[row * wide + k];
              }
              STRATA_UNROLL
              for (int row = 0; row < tile; ++row) {
                const ints larger = total[row] > best[row];
                best[row] = larger ? total[row] : best[row];
                code[row] = larger ? candidates : code[row];
              }
              candidates += static_cast<int>(lanes);
            }
            for (int row = 0; row < tile && first + row < end; ++row) {
              int nearest = 0;
              for (int lane = 1; lane < lanes; ++lane) {
                const bool larger = best[row][lane] > best[row][nearest];
                const bool equal = best[row][lane] == best[row][nearest];
                if (larger || (equal && code[row][lane] < code[row][nearest])) nearest = lane;
              }
              codes.data[(first + row) * books + book] = code[row][nearest];
            }
          }
        }
      });
}

/// Sums up to 16 doubles a thread, in the order of threads.
class thread_sums {
 public:
  explicit thread_sums(cpu& backend)
      : sums_(reinterpret_cast<double*>(backend.shared_memory(2 * 16 * backend.threads()))),
        threads_(backend.threads()) {
    std::fill_n(sums_, 16 * threads_, 0.0);
  }
  double& operator()(int thread, int which) { return sums_[16 * thread + which]; }  // own cache lines
  double& operator[](int thread) { return (*this)(thread, 0); }
  double total(int which = 0) {
    double result = 0;
    for (int thread = 0; thread < threads_; ++thread) result += (*this)(thread, which);
    return result;
  }

 private:
  double* sums_;
  int threads_;
};

inline void cross_entropy(cpu& backend, input<float, 2> logits, view<const token, 1> targets, token ignore, float scale,
                          output<float, 1> loss, output<float, 2> gradient) {
  const auto [rows, vocabulary] = logits.shape;
  const auto counts = [&](index_type r) { return targets(r) >= 0 && targets(r) != ignore; };
  index_type counted = 0;
  for (index_type r = 0; r < rows; ++r) counted += counts(r);
  const float factor = counted == 0 ? 0.f : scale / static_cast<float>(counted);
  thread_sums sums(backend);
  backend.parallel_numbered(
      rows, 12 * vocabulary, [&, vocabulary = vocabulary](int thread, index_type begin, index_type end) {
        float* weight = backend.thread_memory(thread, vocabulary);
        for (index_type r = begin; r < end; ++r) {
          const float* row = logits.data + r * vocabulary;
          float* out = gradient ? gradient.data + r * vocabulary : nullptr;
          if (!counts(r)) {
            if (out) std::fill_n(out, vocabulary, 0.f);
            continue;
          }
          const float at_target = row[targets(r)];
          vector::floats most = vector::all(row[0]), total{};
          index_type v = 0;
          for (; v + vector::lanes <= vocabulary; v += vector::lanes) most = vector::max(most, vector::load(row + v));
          float largest = vector::largest(most);
          for (; v < vocabulary; ++v) largest = std::max(largest, row[v]);
          for (v = 0; v + vector::lanes <= vocabulary; v += vector::lanes) {
            const vector::floats e = vector::exp(vector::load(row + v) - largest);
            total += e;
            vector::store(weight + v, e);
          }
          float sum = vector::sum(total);
          for (; v < vocabulary; ++v) sum += weight[v] = std::exp(row[v] - largest);
          sums[thread] += static_cast<double>(std::log(sum) + largest - at_target);
          if (!out) continue;
          const float normalise = factor / sum;
          vector::for_each(vocabulary,
                           [&](index_type n, auto load, auto store) { store(out + n, load(weight + n) * normalise); });
          out[targets(r)] -= factor;
        }
      });
  if (counted > 0) loss(0) += static_cast<float>(sums.total() / static_cast<double>(counted));
}

inline void cosine_distance(cpu& backend, input<float, 3> prediction, input<float, 3> embedding, float scale,
                            output<float, 1> loss, output<float, 3> dprediction, output<float, 3> dembedding) {
  const auto [batch, length, dim] = prediction.shape;
  const index_type pairs = batch * (length - 1);
  const float factor = pairs == 0 ? 0.f : -scale / static_cast<float>(pairs);
  thread_sums sums(backend);
  backend.parallel_numbered(
      batch * length, 8 * dim, [&, length = length, dim = dim](int thread, index_type begin, index_type end) {
        for (index_type r = begin; r < end; ++r) {
          float* dp = dprediction ? dprediction.data + r * dim : nullptr;
          if (r % length == length - 1) {
            if (dp) std::fill_n(dp, dim, 0.f);
            continue;
          }
          const float* p = prediction.data + r * dim;
          const float* e = embedding.data + (r + 1) * dim;
          const float pp = sum_over(dim, [&](index_type d, auto load) { return load(p + d) * load(p + d); });
          const float ee = sum_over(dim, [&](index_type d, auto load) { return load(e + d) * load(e + d); });
          const float pe = sum_over(dim, [&](index_type d, auto load) { return load(p + d) * load(e + d); });
          const float p_inverse = 1 / std::max(std::sqrt(pp), 1e-12f), e_inverse = 1 / std::max(std::sqrt(ee), 1e-12f);
          const float cosine = pe * p_inverse * e_inverse;
          sums[thread] += static_cast<double>(cosine);
          if (!dp) continue;
          float* de = dembedding.data + (r + 1) * dim;
          vector::for_each(dim, [&](index_type d, auto load, auto store) {
            const auto x = load(p + d) * p_inverse, y = load(e + d) * e_inverse;
            store(dp + d, factor * p_inverse * (y - cosine * x));
            store(de + d, load(de + d) + factor * e_inverse * (x - cosine * y));
          });
        }
      });
  if (pairs > 0) loss(0) += static_cast<float>(1 - sums.total() / static_cast<double>(pairs));
}

inline void embedding_distance(cpu& backend, const distance_settings& settings, input<float, 3> prediction,
                               input<float, 3> embedding, index_type first, view<const token, 1> targets, token ignore,
                               float scale, output<float, 1> loss, output<float, 1> lost, output<float, 3> dprediction,
                               output<float, 3> dembedding) {
  const auto [batch, length, dim] = prediction.shape;
  const float squared = static_cast<float>(settings.squared) / static_cast<float>(dim);
  const float smooth = static_cast<float>(settings.smooth) / static_cast<float>(dim);
  const float along = static_cast<float>(settings.cosine);
  const auto counts = [&](index_type r) { return targets(r) >= 0 && targets(r) != ignore; };
  index_type counted = 0;
  for (index_type r = 0; r < batch * length; ++r) counted += counts(r);
  thread_sums sums(backend);
  backend.parallel_numbered(
      batch * length, 16 * dim, [&, length = length, dim = dim](int thread, index_type begin, index_type end) {
        for (index_type r = begin; r < end; ++r) {
          const index_type of_embedding = (r / length * embedding.shape[1] + first + r % length) * dim;
          const float* p = prediction.data + r * dim;
          const float* e = embedding.data + of_embedding;
          const float pp = sum_over(dim, [&](index_type d, auto load) { return load(p + d) * load(p + d); });
          const float ee = sum_over(dim, [&](index_type d, auto load) { return load(e + d) * load(e + d); });
          const float pe = sum_over(dim, [&](index_type d, auto load) { return load(p + d) * load(e + d); });
          const float p_inverse = 1 / std::max(std::sqrt(pp), 1e-8f), e_inverse = 1 / std::max(std::sqrt(ee), 1e-8f);
          const float cosine = pe * p_inverse * e_inverse;
          const float distance = along * (1 - cosine) + sum_over(dim, [&](index_type d, auto load) {
                                   const vector::floats x = load(p + d) - load(e + d), apart = vector::max(x, -x);
                                   return squared * x * x + smooth * (apart < 1.f ? 0.5f * x * x : apart - 0.5f);
                                 });
          const float share =
              counts(r) ? static_cast<float>(settings.share) * std::exp(-static_cast<float>(settings.decay) * lost(r))
                        : 0.f;
          sums[thread] += static_cast<double>(share * distance);
          lost(r) += distance;
          if (!dprediction) continue;
          const float factor = counted == 0 ? 0.f : scale * share / static_cast<float>(counted);
          float* dp = dprediction.data + r * dim;
          float* de = dembedding ? dembedding.data + of_embedding : nullptr;
          vector::for_each(dim, [&](index_type d, auto load, auto store) {
            const vector::floats apart = load(p + d) - load(e + d);
            const vector::floats bounded = vector::min(vector::max(apart, vector::all(-1.f)), vector::all(1.f));
            const vector::floats pull = 2.f * squared * apart + smooth * bounded;
            const vector::floats x = load(p + d) * p_inverse, y = load(e + d) * e_inverse;
            store(dp + d, factor * (pull - along * p_inverse * (y - cosine * x)));
            if (de) store(de + d, load(de + d) - factor * (pull + along * e_inverse * (x - cosine * y)));
          });
        }
      });
  if (counted > 0) loss(0) += static_cast<float>(sums.total() / static_cast<double>(counted));
}

inline void sigmoid_pairs(cpu& backend, output<float, 2> cosines, index_type first, input<float, 1> log_scale,
                          input<float, 1> bias, float scale, output<float, 1> loss, output<float, 1> dlog_scale,
                          output<float, 1> dbias) {
  const auto [rows, columns] = cosines.shape;
  const float slope = std::exp(log_scale(0)), shift = bias(0), factor = scale / static_cast<float>(columns);
  thread_sums sums(backend);
  backend.parallel_numbered(rows, 40 * columns, [&, columns = columns](int thread, index_type begin, index_type end) {
    const auto [terms, dlogits] = backend.thread_pieces<2>(thread, {columns, columns});
    for (index_type i = begin; i < end; ++i) {
      float* row = cosines.data + i * columns;
      // First the matching pair; then all pairs as if none matched.
      const float logit = slope * row[first + i] + shift, small = std::exp(-std::abs(logit));
      vector::for_each(columns, [&, terms = terms, dlogits = dlogits](index_type j, auto load, auto store) {
        const vector::floats z = load(row + j) * slope + shift, e = vector::exp(-vector::max(z, -z));
        store(terms + j, vector::max(z, vector::floats{}) + vector::log1p(e));
        store(dlogits + j, factor * (z < 0.f ? e : vector::all(1.f)) / (1.f + e));
      });
      terms[first + i] = std::max(-logit, 0.f) + std::log1p(small);
      dlogits[first + i] = -factor * (logit > 0 ? small : 1.f) / (1 + small);
      const auto sum_of = [&](auto value) { return static_cast<double>(sum_over(columns, value)); };
      sums(thread, 0) += sum_of([terms = terms](index_type j, auto load) { return load(terms + j); });
      if (!dbias) continue;
      sums(thread, 1) += sum_of([&, d = dlogits](index_type j, auto load) { return load(d + j) * load(row + j); });
      sums(thread, 2) += sum_of([d = dlogits](index_type j, auto load) { return load(d + j); });
      vector::for_each(columns,
                       [&, d = dlogits](index_type j, auto load, auto store) { store(row + j, load(d + j) * slope); });
    }
  });
  loss(0) += static_cast<float>(sums.total(0) / static_cast<double>(columns));
  if (!dbias) return;
  dlog_scale(0) += static_cast<float>(sums.total(1)) * slope;
  dbias(0) += static_cast<float>(sums.total(2));
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
