// attention, its gradient and one step of incremental attention.
// Shapes: qkv [B n, 3 H E] -> y [B n, H E], log_sum_exp [B,H,n]; backend/backend.hpp says what a row holds.
// Source: FlashAttention, arXiv 2205.14135. 16 queries at a time meet the keys of their windows in blocks whose scores
// fit in the L1 cache. The softmax is corrected from block to block; backward computes the scores again.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// Key groups are whole vectors and whole tiles.
inline constexpr index_type key_group = std::max(vector::lanes, 8);
inline constexpr index_type query_tile = 16, key_block = 128;

/// The cos and sin of one position, [E/2] each; without a table nothing is rotated.
struct rotation {
  const float* cosine = nullptr;
  const float* sine = nullptr;
};
/// `which`: 0 for queries, 1 for keys.
inline rotation rotation_of(input<float, 3> table, int which, index_type position) {
  if (!table) return {};
  const index_type half = table.shape[2];
  return {table.data + (2 * which * table.shape[1] + position) * half,
          table.data + ((2 * which + 1) * table.shape[1] + position) * half};
}
/// to[E] = factor times the rotated from[E]; `direction` -1 is the transposed map.
inline void rotate(rotation by, float direction, float factor, const float* from, float* to, index_type width) {
  if (!by.cosine) {
    vector::for_each(width, [&](index_type e, auto load, auto store) { store(to + e, load(from + e) * factor); });
    return;
  }
  const index_type half = width / 2;
  const float sign = direction * factor;
  vector::for_each(half, [&](index_type e, auto load, auto store) {
    const vector::floats x = load(from + e), y = load(from + half + e);
    const vector::floats c = load(by.cosine + e) * factor, s = load(by.sine + e) * sign;
    store(to + e, x * c - y * s);
    store(to + half + e, y * c + x * s);
  });
}

/// Rows are prefetched this many rows before their use.
inline constexpr index_type rows_ahead = 8;

/// One interleaved sequence of one head: where its rows lie, and its layout in a thread's memory.
struct head_sequence {
  index_type count;         // m: indices of this sequence
  index_type padded_count;  // whole key groups, plus one query tile
  index_type width;         // E
  index_type padded_width;  // whole vectors
  index_type span;          // keys that a query sees
  index_type row_step;      // from one index to the next, in rows
  index_type first_row;     // row of index 0
  index_type channel;       // first channel of this head in [H E]
  float scale;              // of the scores

  /// `task` counts over batch, heads and interleaved sequences.
  head_sequence(const attention_shape& shape, index_type task) {
    const index_type sequence = task % shape.dilation, head = task / shape.dilation % shape.heads;
    const index_type b = task / shape.dilation / shape.heads;
    count = (shape.length - sequence + shape.dilation - 1) / shape.dilation;
    padded_count = round_up(count + query_tile, key_group);
    width = shape.head_dim;
    padded_width = round_up(width, vector::lanes);
    span = shape.span;
    row_step = shape.dilation;
    first_row = b * shape.length + sequence;
    channel = head * shape.head_dim;
    scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  }
  index_type row(index_type i) const { return first_row + i * row_step; }
  index_type packed_size() const { return padded_count * padded_width; }
  /// Prefetches `rows` rows from index `first` on: the processor does not foresee such large steps.
  template <int ToWrite>
  STRATA_ALWAYS_INLINE void prefetch(const float* from, index_type stride, index_type first, index_type rows) const {
    constexpr index_type line = 16;
    for (index_type i = first; i < std::min(first + rows, count); ++i)
      for (index_type e = 0; e < width; e += line) __builtin_prefetch(from + row(i) * stride + e, ToWrite);
  }

  /// to[rows, padded_width] = `rows` indices from `first` on, zeros around them. `from` is column 0 of a [rows, stride]
  /// matrix; `row_of(to, from, i)` writes one row.
  template <class Row>
  void gather(const float* from, index_type stride, index_type first, index_type rows, float* to, Row row_of) const {
    for (index_type i = 0; i < rows; ++i) {
      float* out = to + i * padded_width;
      index_type written = 0;
      prefetch<0>(from, stride, first + i + rows_ahead, 1);
      if (first + i < count) {
        row_of(out, from + row(first + i) * stride, first + i);
        written = width;
      }
      std::fill(out + written, out + padded_width, 0.f);
    }
  }
  void gather_rows(const float* from, index_type stride, index_type first, index_type rows, float* to) const {
    gather(from, stride, first, rows, to,
           [this](float* out, const float* in, index_type) { rotate({}, 1, 1, in, out, width); });
  }
  /// Queries are scaled here, so that their inner products with keys are the scores.
  void gather_queries(input<float, 3> table, const float* from, index_type stride, index_type first, float* to) const {
    gather(from, stride, first, query_tile, to, [&](float* out, const float* in, index_type i) {
      rotate(rotation_of(table, 0, i), 1, scale, in, out, width);
    });
  }
  void gather_keys(input<float, 3> table, const float* from, index_type stride, float* to) const {
    gather(from, stride, 0, padded_count, to,
           [&](float* out, const float* in, index_type i) { rotate(rotation_of(table, 1, i), 1, 1, in, out, width); });
  }
  /// From gathered rows to groups of `lanes` indices: [padded_count / lanes, padded_width, lanes].
  void transpose(const float* rows, float* to) const {
    constexpr index_type lanes = vector::lanes;
    for (index_type i = 0; i < padded_count; i += lanes)
      for (index_type e = 0; e < padded_width; e += lanes) {
        vector::floats square[lanes];
        for (index_type k = 0; k < lanes; ++k) square[k] = vector::load(rows + (i + k) * padded_width + e);
        vector::transpose(square);
        for (index_type k = 0; k < lanes; ++k) vector::store(to + i * padded_width + (e + k) * lanes, square[k]);
      }
  }
  /// out[query_tile, keys] = rows[query_tile, padded_width] times the `keys` transposed columns from `first_key` on.
  void product_with_transposed(const float* rows, const float* transposed, index_type first_key, index_type keys,
                               float* out) const {
    small_product<update::replace>(query_tile, keys / vector::lanes, width, rows, padded_width, 1,
                                   transposed + first_key * padded_width, vector::lanes, vector::lanes * padded_width,
                                   out, keys);
  }
  /// Calls body(first_key, keys) on blocks of whole key groups that queries first .. first + query_tile - 1 may see.
  /// The last block comes first: every query sees itself there.
  template <class Body>
  void for_each_block(index_type first, Body body) const {
    const index_type begin = std::max<index_type>(first - span + 1, 0) / key_group * key_group;
    for (index_type end = round_up(first + query_tile, key_group); end > begin; end -= key_block) {
      const index_type from = std::max(end - key_block, begin);
      body(from, end - from);
    }
  }
};

/// Which columns of a block's row a query sees: after `before`, up to `last`.
struct seen_columns {
  int before, last;
  seen_columns(const head_sequence& s, index_type query, index_type first_key)
      : before(static_cast<int>(std::max(query - s.span - first_key, index_type{-1}))),
        last(static_cast<int>(query - first_key)) {}
  seen_columns(index_type first, index_type final)
      : before(static_cast<int>(first) - 1), last(static_cast<int>(final)) {}
  bool all_of(index_type keys) const { return before < 0 && last >= keys - 1; }
  /// x in the visible columns, elsewhere a number whose exponential is 0; x begins at `column`.
  STRATA_ALWAYS_INLINE vector::floats masked(vector::floats x, index_type column) const {
    const vector::ints columns = vector::count_up() + static_cast<int>(column);
    return ((columns <= last) & (columns > before)) ? x : vector::all(-1e30f);
  }
};

/// Masks one row of a block's scores and returns the largest.
inline float mask_row(const seen_columns& seen, index_type keys, float* row) {
  vector::floats most = vector::all(-1e30f);
  const bool whole = seen.all_of(keys);
  for (index_type j = 0; j < keys; j += vector::lanes) {
    vector::floats x = vector::load(row + j);
    if (!whole) {
      x = seen.masked(x, j);
      vector::store(row + j, x);
    }
    most = vector::max(most, x);
  }
  return vector::largest(most);
}

/// row[keys] = exp(row - largest); returns the sum.
inline float exponentials(float largest, index_type keys, float* row) {
  vector::floats total{};
  for (index_type j = 0; j < keys; j += vector::lanes) {
    const vector::floats e = vector::exp(vector::load(row + j) - largest);
    total += e;
    vector::store(row + j, e);
  }
  return vector::sum(total);
}

/// Replaces one row of scores by the weights, and the gradients of the weights by those of the scores. `along` is the
/// sum of each weight times its gradient.
inline void softmax_row_backward(const seen_columns& seen, float log_sum_exp, float along, index_type keys, float* row,
                                 float* gradient) {
  const bool whole = seen.all_of(keys);
  for (index_type j = 0; j < keys; j += vector::lanes) {
    vector::floats score = vector::load(row + j) - log_sum_exp;
    if (!whole) score = seen.masked(score, j);
    const vector::floats weight = vector::exp(score);
    vector::store(row + j, weight);
    vector::store(gradient + j, weight * (vector::load(gradient + j) - along));
  }
}

inline void scale_row(float factor, index_type count, float* row) {
  for (index_type n = 0; n < count; n += vector::lanes) vector::store(row + n, vector::load(row + n) * factor);
}

inline float dot(const float* x, const float* y, index_type whole_vectors) {
  vector::floats total{};
  for (index_type n = 0; n < whole_vectors; n += vector::lanes) total += vector::load(x + n) * vector::load(y + n);
  return vector::sum(total);
}

inline void attention(cpu& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                      output<float, 2> y, output<float, 3> log_sum_exp) {
  const index_type dim = shape.dim(), stride = 3 * dim;
  const index_type tasks = shape.batch * shape.heads * shape.dilation;
  const index_type cost = 4 * (shape.length / shape.dilation + 1) * std::min(shape.span, shape.length) * shape.head_dim;
  backend.parallel_numbered(tasks, cost, [&](int thread, index_type begin, index_type end) {
    for (index_type task = begin; task < end; ++task) {
      const head_sequence s(shape, task);
      const index_type packed = s.packed_size(), tile = query_tile * s.padded_width,
                       vectors = s.padded_width / vector::lanes;
      const auto [keys, values, transposed, queries, mixed, scores] =
          backend.thread_pieces(thread, std::array{packed, packed, packed, tile, tile, query_tile * key_block});
      s.gather_keys(table, qkv.data + dim + s.channel, stride, keys);
      s.gather_rows(qkv.data + 2 * dim + s.channel, stride, 0, s.padded_count, values);
      s.transpose(keys, transposed);
      float* normaliser = log_sum_exp.data + task / shape.dilation * shape.length + task % shape.dilation;

      for (index_type first = 0; first < s.count; first += query_tile) {
        s.gather_queries(table, qkv.data + s.channel, stride, first, queries);
        float largest[query_tile], sum[query_tile];
        std::fill_n(largest, query_tile, -1e30f);
        std::fill_n(sum, query_tile, 0.f);
        std::fill_n(mixed, tile, 0.f);
        s.prefetch<0>(qkv.data + s.channel, stride, first + query_tile, query_tile);
        s.prefetch<1>(y.data + s.channel, dim, first, query_tile);
        s.for_each_block(first, [&, transposed = transposed, values = values, queries = queries, mixed = mixed,
                                 scores = scores](index_type first_key, index_type block) {
          s.product_with_transposed(queries, transposed, first_key, block, scores);
          for (index_type i = 0; i < query_tile; ++i) {
            float* row = scores + i * block;
            const float in_block = mask_row(seen_columns(s, first + i, first_key), block, row);
            if (!(in_block <= largest[i])) {
              const float correction = std::exp(largest[i] - in_block);
              sum[i] *= correction;
              scale_row(correction, s.padded_width, mixed + i * s.padded_width);
              largest[i] = in_block;
            }
            sum[i] += exponentials(largest[i], block, row);
          }
          small_product<update::add>(query_tile, vectors, block, scores, block, 1, values + first_key * s.padded_width,
                                     s.padded_width, vector::lanes, mixed, s.padded_width);
        });
        for (index_type i = 0; i < std::min(query_tile, s.count - first); ++i) {
          normaliser[(first + i) * shape.dilation] = largest[i] + std::log(sum[i]);
          rotate({}, 1, 1 / sum[i], mixed + i * s.padded_width, y.data + s.row(first + i) * dim + s.channel, s.width);
        }
      }
    }
  });
}

inline void attention_backward(cpu& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                               input<float, 2> y, input<float, 3> log_sum_exp, input<float, 2> dy,
                               output<float, 2> dqkv) {
  const index_type dim = shape.dim(), stride = 3 * dim;
  const index_type tasks = shape.batch * shape.heads * shape.dilation;
  const index_type cost =
      10 * (shape.length / shape.dilation + 1) * std::min(shape.span, shape.length) * shape.head_dim;
  backend.parallel_numbered(tasks, cost, [&](int thread, index_type begin, index_type end) {
    for (index_type task = begin; task < end; ++task) {
      const head_sequence s(shape, task);
      const index_type packed = s.packed_size(), tile = query_tile * s.padded_width,
                       vectors = s.padded_width / vector::lanes;
      const index_type scores = query_tile * key_block;
      const auto [keys, dkeys, dvalues, keys_transposed, values_transposed, queries, dmixed, mixed, dqueries, weights,
                  dscores] = backend.thread_pieces(thread, std::array{packed, packed, packed, packed, packed, tile,
                                                                      tile, tile, tile, scores, scores});
      s.gather_rows(qkv.data + 2 * dim + s.channel, stride, 0, s.padded_count, keys);
      s.transpose(keys, values_transposed);
      s.gather_keys(table, qkv.data + dim + s.channel, stride, keys);
      s.transpose(keys, keys_transposed);
      std::fill_n(dkeys, packed, 0.f);
      std::fill_n(dvalues, packed, 0.f);
      const float* normaliser = log_sum_exp.data + task / shape.dilation * shape.length + task % shape.dilation;

      for (index_type first = 0; first < s.count; first += query_tile) {
        const index_type queries_left = std::min(query_tile, s.count - first);
        s.gather_queries(table, qkv.data + s.channel, stride, first, queries);
        s.gather_rows(dy.data + s.channel, dim, first, query_tile, dmixed);
        s.gather_rows(y.data + s.channel, dim, first, query_tile, mixed);
        std::fill_n(dqueries, tile, 0.f);
        s.prefetch<0>(qkv.data + s.channel, stride, first + query_tile, query_tile);
        s.prefetch<0>(dy.data + s.channel, dim, first + query_tile, query_tile);
        s.prefetch<0>(y.data + s.channel, dim, first + query_tile, query_tile);
        s.prefetch<1>(dqkv.data + s.channel, stride, first, query_tile);
        float along[query_tile];
        for (index_type i = 0; i < queries_left; ++i)
          along[i] = dot(mixed + i * s.padded_width, dmixed + i * s.padded_width, s.padded_width);
        s.for_each_block(
            first, [&, keys = keys, dkeys = dkeys, dvalues = dvalues, keys_transposed = keys_transposed,
                    values_transposed = values_transposed, queries = queries, dmixed = dmixed, dqueries = dqueries,
                    weights = weights, dscores = dscores](index_type first_key, index_type block) {
              s.product_with_transposed(queries, keys_transposed, first_key, block, weights);
              s.product_with_transposed(dmixed, values_transposed, first_key, block, dscores);
              for (index_type i = 0; i < queries_left; ++i)
                softmax_row_backward(seen_columns(s, first + i, first_key), normaliser[(first + i) * shape.dilation],
                                     along[i], block, weights + i * block, dscores + i * block);
              std::fill_n(weights + queries_left * block, (query_tile - queries_left) * block, 0.f);
              std::fill_n(dscores + queries_left * block, (query_tile - queries_left) * block, 0.f);
              const index_type key_rows = first_key * s.padded_width;
              small_product<update::add>(query_tile, vectors, block, dscores, block, 1, keys + key_rows, s.padded_width,
                                         vector::lanes, dqueries, s.padded_width);
              small_product<update::add>(block, vectors, query_tile, dscores, 1, block, queries, s.padded_width,
                                         vector::lanes, dkeys + key_rows, s.padded_width);
              small_product<update::add>(block, vectors, query_tile, weights, 1, block, dmixed, s.padded_width,
                                         vector::lanes, dvalues + key_rows, s.padded_width);
            });
        for (index_type i = 0; i < queries_left; ++i)
          rotate(rotation_of(table, 0, first + i), -1, s.scale, dqueries + i * s.padded_width,
                 dqkv.data + s.row(first + i) * stride + s.channel, s.width);
      }
      for (index_type i = 0; i < s.count; ++i) {
        float* out = dqkv.data + s.row(i) * stride + s.channel;
        s.prefetch<1>(dqkv.data + dim + s.channel, stride, i + rows_ahead, 1);
        s.prefetch<1>(dqkv.data + 2 * dim + s.channel, stride, i + rows_ahead, 1);
        rotate(rotation_of(table, 1, i), -1, 1, dkeys + i * s.padded_width, out + dim, s.width);
        rotate({}, 1, 1, dvalues + i * s.padded_width, out + 2 * dim, s.width);
      }
    }
  });
}

inline void attention_step(cpu& backend, const attention_shape& shape, index_type count, input<float, 2> qkv,
                           input<float, 3> table, output<float, 3> keys, output<float, 3> values, output<float, 2> y) {
  const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  const index_type dim = shape.dim(), half = shape.head_dim / 2, span = shape.span, seen = std::min(count + 1, span);
  float* score = backend.thread_memory(0, seen);
  for (index_type b = 0; b < shape.batch; ++b) {
    const float* row = qkv.data + b * 3 * dim;
    float* own_keys = keys.data + b * span * dim;
    float* own_values = values.data + b * span * dim;
    std::copy_n(row + dim, dim, own_keys + count % span * dim);
    std::copy_n(row + 2 * dim, dim, own_values + count % span * dim);
    for (index_type h = 0; h < shape.heads; ++h) {
      const float* q1 = row + h * shape.head_dim;
      const float* q2 = q1 + half;
      float largest = -std::numeric_limits<float>::infinity(), sum = 0;
      for (index_type j = 0; j < seen; ++j) {  // j is the distance: the rotation depends on nothing else
        const float* k1 = own_keys + (count - j) % span * dim + h * shape.head_dim;
        const float* k2 = k1 + half;
        const float* cosine = table.data + j * half;
        const float* sine = table.data + (span + j) * half;
        vector::floats total{};
        vector::for_each(half, [&](index_type e, auto load, auto) {
          total += (load(q1 + e) * load(k1 + e) + load(q2 + e) * load(k2 + e)) * load(cosine + e) +
                   (load(q1 + e) * load(k2 + e) - load(q2 + e) * load(k1 + e)) * load(sine + e);
        });
        score[j] = vector::sum(total) * scale;
        largest = std::max(largest, score[j]);
      }
      float* out = y.data + b * dim + h * shape.head_dim;
      std::fill_n(out, shape.head_dim, 0.f);
      for (index_type j = 0; j < seen; ++j) sum += score[j] = std::exp(score[j] - largest);
      for (index_type j = 0; j < seen; ++j) {
        const float* value = own_values + (count - j) % span * dim + h * shape.head_dim;
        const float weight = score[j] / sum;
        vector::for_each(shape.head_dim, [&](index_type e, auto load, auto store) {
          store(out + e, load(out + e) + weight * load(value + e));
        });
      }
    }
  }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
