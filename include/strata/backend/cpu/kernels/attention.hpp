// rotary, attention and their gradients, and one step of incremental attention.
// Shapes: qkv [B n, 3 H E] -> y [B n, H E], log_sum_exp [B,H,n]; backend/backend.hpp says what a row holds.
// Source: FlashAttention, arXiv 2205.14135, without its rescaling: the scores of 16 queries against the keys of
// their windows fit in the first cache, so the softmax is the plain one.

namespace strata::kernels::STRATA_INSTRUCTIONS {

inline constexpr index round_up(index count, index multiple) { return (count + multiple - 1) / multiple * multiple; }

/// c[Rows, Vectors lanes] = or += sum over k of a(i,k) b[k,:], where a(i,k) = a[i a_row + k a_step] and
/// vector j of row k of b is at b + k b_step + j b_vector.
template <int Rows, int Vectors, update Mode>
STRATA_ALWAYS_INLINE void product_tile(index depth, const float* a, index a_row, index a_step, const float* b,
                                       index b_step, index b_vector, float* c, index c_row) {
  using namespace vector;
  floats total[Rows][Vectors];
  STRATA_UNROLL
  for (int i = 0; i < Rows; ++i) STRATA_UNROLL
  for (int j = 0; j < Vectors; ++j) total[i][j] = Mode == update::add ? load(c + i * c_row + j * lanes) : floats{};
  for (index k = 0; k < depth; ++k) {
    floats column[Vectors];
    STRATA_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      column[j] = load(b + k * b_step + j * b_vector);
      pin(column[j]);
    }
    STRATA_UNROLL
    for (int i = 0; i < Rows; ++i) {
      floats value = all(a[i * a_row + k * a_step]);
      pin(value);
      STRATA_UNROLL
      for (int j = 0; j < Vectors; ++j) total[i][j] += value * column[j];
    }
  }
  STRATA_UNROLL
  for (int i = 0; i < Rows; ++i) STRATA_UNROLL
  for (int j = 0; j < Vectors; ++j) store(c + i * c_row + j * lanes, total[i][j]);
}

/// As many rows and vectors as the registers hold.
inline constexpr int tile_rows = vector::lanes == 16 ? 8 : 4;
inline constexpr int tile_vectors = vector::lanes == 16 ? 3 : 2;
/// Keys come in groups that are whole vectors and whole tiles.
inline constexpr index key_group = std::max(vector::lanes, 8);
inline constexpr index query_tile = 16;

/// product_tile over `rows` (a multiple of tile_rows) and `vectors`.
template <update Mode>
inline void small_product(index rows, index vectors, index depth, const float* a, index a_row, index a_step,
                          const float* b, index b_step, index b_vector, float* c, index c_row) {
  for (index i = 0; i < rows; i += tile_rows) {
    const float* a_tile = a + i * a_row;
    float* c_tile = c + i * c_row;
    index j = 0;
    for (; j + tile_vectors <= vectors; j += tile_vectors)
      product_tile<tile_rows, tile_vectors, Mode>(depth, a_tile, a_row, a_step, b + j * b_vector, b_step, b_vector,
                                                  c_tile + j * vector::lanes, c_row);
    for (; j < vectors; ++j)
      product_tile<tile_rows, 1, Mode>(depth, a_tile, a_row, a_step, b + j * b_vector, b_step, b_vector,
                                       c_tile + j * vector::lanes, c_row);
  }
}

/// One interleaved sequence of one head: where its rows lie, and how it is laid out in a thread's memory.
struct head_sequence {
  index count;         // m: indices of this sequence
  index padded_count;  // whole key groups, with one query tile to spare
  index width;         // E
  index padded_width;  // whole vectors
  index row_step;      // from one index to the next, in rows
  index first_row;     // row of index 0
  index channel;       // of this head inside [H E]

  /// `task` counts batch, heads and interleaved sequences.
  head_sequence(const attention_shape& shape, index task) {
    const index sequence = task % shape.dilation, head = task / shape.dilation % shape.heads;
    const index b = task / shape.dilation / shape.heads;
    count = (shape.length - sequence + shape.dilation - 1) / shape.dilation;
    padded_count = round_up(count + query_tile, key_group);
    width = shape.head_dim;
    padded_width = round_up(width, vector::lanes);
    row_step = shape.dilation;
    first_row = b * shape.length + sequence;
    channel = head * shape.head_dim;
  }
  index row(index i) const { return first_row + i * row_step; }
  index rows_size() const { return padded_count * padded_width; }
  index transposed_size() const { return padded_count * width; }

  /// Index i of this sequence at rows[i, padded_width], zeros around it. `from` is column 0 of a [rows,
  /// stride] matrix.
  void gather_rows(const float* from, index stride, index first, index rows, float* to) const {
    for (index i = 0; i < rows; ++i) {
      float* out = to + i * padded_width;
      if (first + i < count) {
        std::copy_n(from + row(first + i) * stride, width, out);
        std::fill(out + width, out + padded_width, 0.f);
      } else {
        std::fill(out, out + padded_width, 0.f);
      }
    }
  }
  /// From gathered rows to groups of `lanes` indices: [padded_count / lanes, E, lanes].
  void transpose(const float* rows, float* to) const {
    for (index i = 0; i < padded_count; ++i)
      for (index e = 0; e < width; ++e)
        to[(i / vector::lanes * width + e) * vector::lanes + i % vector::lanes] = rows[i * padded_width + e];
  }
  /// The most keys that `keys_of` can give.
  index widest_tile(index span) const {
    return std::min(round_up(span + query_tile, key_group) + key_group, padded_count);
  }
  /// The keys that queries first .. first + query_tile - 1 may see, as whole groups.
  std::pair<index, index> keys_of(index first, index span) const {
    return {std::max<index>(first - span + 1, 0) / key_group * key_group, round_up(first + query_tile, key_group)};
  }
};

/// scores[query_tile, keys] = queries keys^T, unscaled.
inline void score_tile(const head_sequence& s, const float* queries, const float* transposed, index first_key,
                       index keys, float* scores) {
  small_product<update::replace>(query_tile, keys / vector::lanes, s.width, queries, s.padded_width, 1,
                                 transposed + first_key * s.width, vector::lanes, vector::lanes * s.width, scores,
                                 keys);
}

/// Which columns of a tile's row a query sees: after `before`, up to `last`.
struct seen_columns {
  int before, last;
  seen_columns(index query, index span, index first_key)
      : before(static_cast<int>(std::max(query - span - first_key, index{-1}))),
        last(static_cast<int>(query - first_key)) {}
  /// x in the columns that are seen, a number whose exponential is 0 in the others; `column` is the first of them.
  STRATA_ALWAYS_INLINE vector::floats masked(vector::floats x, index column) const {
    const vector::ints columns = vector::count_up() + static_cast<int>(column);
    return ((columns <= last) & (columns > before)) ? x : vector::all(-1e30f);
  }
};

/// Turns one row of scores into weights and returns its log_sum_exp.
inline float softmax_row(const seen_columns& seen, float scale, index width, float* row) {
  vector::floats most = vector::all(-std::numeric_limits<float>::max()), total{};
  for (index j = 0; j < width; j += vector::lanes) {
    const vector::floats x = seen.masked(vector::load(row + j) * scale, j);
    most = vector::max(most, x);
    vector::store(row + j, x);
  }
  const float largest = vector::largest(most);
  for (index j = 0; j < width; j += vector::lanes) {
    const vector::floats e = vector::exp(vector::load(row + j) - largest);
    total += e;
    vector::store(row + j, e);
  }
  const float sum = vector::sum(total), inverse = 1 / sum;
  for (index j = 0; j < width; j += vector::lanes) vector::store(row + j, vector::load(row + j) * inverse);
  return largest + std::log(sum);
}

/// Turns one row of scores into weights again, and the gradients of the weights into those of the scores. `along` is the
/// sum of each weight times its gradient.
inline void softmax_row_backward(const seen_columns& seen, float scale, float log_sum_exp, float along, index width,
                                 float* row, float* gradient) {
  for (index j = 0; j < width; j += vector::lanes) {
    const vector::floats weight = vector::exp(seen.masked(vector::load(row + j) * scale - log_sum_exp, j));
    vector::store(row + j, weight);
    vector::store(gradient + j, weight * (vector::load(gradient + j) - along) * scale);
  }
}

inline float dot(const float* x, const float* y, index whole_vectors) {
  vector::floats total{};
  for (index n = 0; n < whole_vectors; n += vector::lanes) total += vector::load(x + n) * vector::load(y + n);
  return vector::sum(total);
}

inline void turn(cpu& backend, const attention_shape& shape, input<float, 3> table, output<float, 2> qkv, float sign) {
  const index half = shape.head_dim / 2, positions = table.shape[1];
  backend.parallel(qkv.shape[0], 6 * shape.dim(), [&](index begin, index end) {
    for (index r = begin; r < end; ++r) {
      const index position = r % shape.length / shape.dilation;
      for (index which = 0; which < 2; ++which) {
        const float* cosine = table.data + (2 * which * positions + position) * half;
        const float* sine = table.data + ((2 * which + 1) * positions + position) * half;
        for (index h = 0; h < shape.heads; ++h) {
          float* first = qkv.data + r * qkv.shape[1] + which * shape.dim() + h * shape.head_dim;
          float* second = first + half;
          vector::for_each(half, [&](index e, auto load, auto store) {
            const auto x = load(first + e), y = load(second + e), c = load(cosine + e), s = sign * load(sine + e);
            store(first + e, x * c - y * s);
            store(second + e, y * c + x * s);
          });
        }
      }
    }
  });
}

inline void rotary(cpu& backend, const attention_shape& shape, input<float, 3> table, output<float, 2> qkv) {
  turn(backend, shape, table, qkv, 1.f);
}
inline void rotary_backward(cpu& backend, const attention_shape& shape, input<float, 3> table, output<float, 2> dqkv) {
  turn(backend, shape, table, dqkv, -1.f);
}

inline void attention(cpu& backend, const attention_shape& shape, input<float, 2> qkv, output<float, 2> y,
                      output<float, 3> log_sum_exp) {
  const index dim = shape.dim(), stride = 3 * dim;
  const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  const index tasks = shape.batch * shape.heads * shape.dilation;
  const index cost = 4 * (shape.length / shape.dilation + 1) * std::min(shape.span, shape.length) * shape.head_dim;
  backend.parallel_numbered(tasks, cost, [&](int thread, index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const head_sequence s(shape, task);
      const index rows = s.rows_size(), tile = query_tile * s.padded_width;
      const auto [keys, values, transposed, queries, mixed, scores] = backend.thread_pieces(
          thread, std::array{rows, rows, s.transposed_size(), tile, tile, query_tile * s.widest_tile(shape.span)});
      s.gather_rows(qkv.data + dim + s.channel, stride, 0, s.padded_count, keys);
      s.gather_rows(qkv.data + 2 * dim + s.channel, stride, 0, s.padded_count, values);
      s.transpose(keys, transposed);
      float* normaliser = log_sum_exp.data + task / shape.dilation * shape.length + task % shape.dilation;

      for (index first = 0; first < s.count; first += query_tile) {
        const auto [first_key, last_key] = s.keys_of(first, shape.span);
        const index width = last_key - first_key, queries_left = std::min(query_tile, s.count - first);
        s.gather_rows(qkv.data + s.channel, stride, first, query_tile, queries);
        score_tile(s, queries, transposed, first_key, width, scores);
        for (index i = 0; i < query_tile; ++i) {
          const seen_columns seen(first + i, shape.span, first_key);
          const float own = softmax_row(seen, scale, width, scores + i * width);
          if (i < queries_left) normaliser[(first + i) * shape.dilation] = own;
        }
        small_product<update::replace>(query_tile, s.padded_width / vector::lanes, width, scores, width, 1,
                                       values + first_key * s.padded_width, s.padded_width, vector::lanes, mixed,
                                       s.padded_width);
        for (index i = 0; i < queries_left; ++i)
          std::copy_n(mixed + i * s.padded_width, s.width, y.data + s.row(first + i) * dim + s.channel);
      }
    }
  });
}

inline void attention_backward(cpu& backend, const attention_shape& shape, input<float, 2> qkv, input<float, 2> y,
                               input<float, 3> log_sum_exp, input<float, 2> dy, output<float, 2> dqkv) {
  const index dim = shape.dim(), stride = 3 * dim;
  const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  const index tasks = shape.batch * shape.heads * shape.dilation;
  const index cost = 10 * (shape.length / shape.dilation + 1) * std::min(shape.span, shape.length) * shape.head_dim;
  backend.parallel_numbered(tasks, cost, [&](int thread, index begin, index end) {
    for (index task = begin; task < end; ++task) {
      const head_sequence s(shape, task);
      const index rows = s.rows_size(), columns = s.transposed_size(), tile = query_tile * s.padded_width;
      const index scores = query_tile * s.widest_tile(shape.span);
      const auto [keys, values, dkeys, dvalues, keys_transposed, values_transposed, queries, dmixed, mixed, dqueries,
                  weights, dscores] = backend.thread_pieces(thread, std::array{rows, rows, rows, rows, columns, columns,
                                                                               tile, tile, tile, tile, scores, scores});
      s.gather_rows(qkv.data + dim + s.channel, stride, 0, s.padded_count, keys);
      s.gather_rows(qkv.data + 2 * dim + s.channel, stride, 0, s.padded_count, values);
      s.transpose(keys, keys_transposed);
      s.transpose(values, values_transposed);
      std::fill_n(dkeys, rows, 0.f);
      std::fill_n(dvalues, rows, 0.f);
      const float* normaliser = log_sum_exp.data + task / shape.dilation * shape.length + task % shape.dilation;

      for (index first = 0; first < s.count; first += query_tile) {
        const auto [first_key, last_key] = s.keys_of(first, shape.span);
        const index width = last_key - first_key, queries_left = std::min(query_tile, s.count - first);
        s.gather_rows(qkv.data + s.channel, stride, first, query_tile, queries);
        s.gather_rows(dy.data + s.channel, dim, first, query_tile, dmixed);
        s.gather_rows(y.data + s.channel, dim, first, query_tile, mixed);
        score_tile(s, queries, keys_transposed, first_key, width, weights);
        score_tile(s, dmixed, values_transposed, first_key, width, dscores);
        for (index i = 0; i < queries_left; ++i) {
          const float along = dot(mixed + i * s.padded_width, dmixed + i * s.padded_width, s.padded_width);
          softmax_row_backward(seen_columns(first + i, shape.span, first_key), scale,
                               normaliser[(first + i) * shape.dilation], along, width, weights + i * width,
                               dscores + i * width);
        }
        std::fill_n(weights + queries_left * width, (query_tile - queries_left) * width, 0.f);
        std::fill_n(dscores + queries_left * width, (query_tile - queries_left) * width, 0.f);
        const index vectors = s.padded_width / vector::lanes, key_rows = first_key * s.padded_width;
        small_product<update::replace>(query_tile, vectors, width, dscores, width, 1, keys + key_rows, s.padded_width,
                                       vector::lanes, dqueries, s.padded_width);
        small_product<update::add>(width, vectors, query_tile, dscores, 1, width, queries, s.padded_width,
                                   vector::lanes, dkeys + key_rows, s.padded_width);
        small_product<update::add>(width, vectors, query_tile, weights, 1, width, dmixed, s.padded_width, vector::lanes,
                                   dvalues + key_rows, s.padded_width);
        for (index i = 0; i < queries_left; ++i)
          std::copy_n(dqueries + i * s.padded_width, s.width, dqkv.data + s.row(first + i) * stride + s.channel);
      }
      for (index i = 0; i < s.count; ++i) {
        float* out = dqkv.data + s.row(i) * stride + s.channel;
        std::copy_n(dkeys + i * s.padded_width, s.width, out + dim);
        std::copy_n(dvalues + i * s.padded_width, s.width, out + 2 * dim);
      }
    }
  });
}

inline void attention_step(cpu& backend, const attention_shape& shape, index count, input<float, 2> qkv,
                           input<float, 3> table, output<float, 3> keys, output<float, 3> values, output<float, 2> y) {
  const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  const index dim = shape.dim(), half = shape.head_dim / 2, span = shape.span, seen = std::min(count + 1, span);
  float* score = backend.thread_memory(0, seen);
  for (index b = 0; b < shape.batch; ++b) {
    const float* row = qkv.data + b * 3 * dim;
    float* own_keys = keys.data + b * span * dim;
    float* own_values = values.data + b * span * dim;
    std::copy_n(row + dim, dim, own_keys + count % span * dim);
    std::copy_n(row + 2 * dim, dim, own_values + count % span * dim);
    for (index h = 0; h < shape.heads; ++h) {
      const float* q1 = row + h * shape.head_dim;
      const float* q2 = q1 + half;
      float largest = -std::numeric_limits<float>::infinity(), sum = 0;
      for (index j = 0; j < seen; ++j) {  // j is the distance; only the distance turns a query against a key
        const float* k1 = own_keys + (count - j) % span * dim + h * shape.head_dim;
        const float* k2 = k1 + half;
        const float* cosine = table.data + j * half;
        const float* sine = table.data + (span + j) * half;
        vector::floats total{};
        vector::for_each(half, [&](index e, auto load, auto) {
          total += (load(q1 + e) * load(k1 + e) + load(q2 + e) * load(k2 + e)) * load(cosine + e) +
                   (load(q1 + e) * load(k2 + e) - load(q2 + e) * load(k1 + e)) * load(sine + e);
        });
        score[j] = vector::sum(total) * scale;
        largest = std::max(largest, score[j]);
      }
      float* out = y.data + b * dim + h * shape.head_dim;
      std::fill_n(out, shape.head_dim, 0.f);
      for (index j = 0; j < seen; ++j) sum += score[j] = std::exp(score[j] - largest);
      for (index j = 0; j < seen; ++j) {
        const float* value = own_values + (count - j) % span * dim + h * shape.head_dim;
        const float weight = score[j] / sum;
        vector::for_each(shape.head_dim, [&](index e, auto load, auto store) {
          store(out + e, load(out + e) + weight * load(value + e));
        });
      }
    }
  }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
