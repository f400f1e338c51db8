// Attention across two sequences, its gradient and one step of it.
// Shapes: query [B nq, H E], key_value [B nk, 2 H E], bias [H,span] -> y [B nq, H E], log_sum_exp [B,H,nq].
// Source: FlashAttention, arXiv 2205.14135. A few queries at a time meet the keys that any of them sees. A thread owns
// whole heads of whole texts, so sums have a fixed order.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// One head of one text on both sides.
struct head_pair {
  static constexpr index_type tile = 8;  // queries at a time
  const cross_attention_shape& shape;
  head_sequence queries, keys;

  /// `task` counts over batch and heads.
  head_pair(const cross_attention_shape& own, index_type task)
      : shape(own),
        queries({own.batch, own.queries, own.heads, own.head_dim, own.span, 1}, task),
        keys({own.batch, own.keys, own.heads, own.head_dim, own.span, 1}, task) {}

  /// The most columns of scores that a tile needs.
  index_type most_columns() const {
    const index_type seen = (tile - 1) * shape.query_stride / shape.key_stride + 1 + shape.span;
    return std::min(seen + 2 * vector::lanes, keys.padded_count);
  }
  /// The bias in the order of the keys, padded with zeros because whole vectors are read.
  static index_type padded_bias(index_type span) { return span + 2 * vector::lanes; }
  void reverse(const float* bias, float* to) const {
    std::fill_n(to, padded_bias(shape.span), 0.f);
    std::reverse_copy(bias, bias + shape.span, to + vector::lanes);
  }
  void gather(const float* from, index_type stride, index_type first, float factor, float* to) const {
    queries.gather(from, stride, first, tile, to,
                   [&](float* out, const float* in, index_type) { rotate({}, 1, factor, in, out, queries.width); });
  }
  /// Calls body(first, rows, first_key, columns) on every tile of queries; keys come in whole vectors.
  template <class Body>
  void for_each_tile(Body body) const {
    for (index_type first = 0; first < queries.count; first += tile) {
      const index_type rows = std::min(tile, queries.count - first);
      const index_type first_key = shape.oldest(first) / vector::lanes * vector::lanes;
      const index_type end = round_up(shape.newest(first + rows - 1) + 1, vector::lanes);
      body(first, rows, first_key, end - first_key);
    }
  }
  /// out[tile, columns] = rows[tile, padded_width] times the transposed columns from `first_key` on.
  void product_with_transposed(const float* rows, const float* transposed, index_type first_key, index_type columns,
                               float* out) const {
    small_product<update::replace>(tile, columns / vector::lanes, keys.width, rows, keys.padded_width, 1,
                                   transposed + first_key * keys.padded_width, vector::lanes,
                                   vector::lanes * keys.padded_width, out, columns);
  }
};

/// The columns that a query sees in its row of scores, in whole vectors.
struct query_columns {
  index_type begin, count;
  seen_columns seen;         // counts from `begin`
  index_type first_of_bias;  // position of column `begin` in the reversed bias

  query_columns(const cross_attention_shape& shape, index_type query, index_type first_key)
      : begin((shape.oldest(query) - first_key) / vector::lanes * vector::lanes),
        count(round_up(shape.newest(query) + 1 - first_key, vector::lanes) - begin),
        seen(shape.oldest(query) - first_key - begin, shape.newest(query) - first_key - begin),
        first_of_bias(vector::lanes + first_key + begin - shape.newest(query) + shape.span - 1) {}
  void add_bias(const float* reversed, float* row) const { add_row(reversed + first_of_bias, row + begin, count); }
  void clear_others(index_type columns, float* row) const {
    std::fill(row, row + begin, 0.f);
    std::fill(row + begin + count, row + columns, 0.f);
  }
};

/// Writes one head of one query: mixed[E] / `sum`, the sum of exp(score - largest). update::add merges it with y.
inline void write_mixed(const float* mixed, float largest, float sum, index_type width, float* y, float& log_sum_exp,
                        update mode) {
  const float own = largest + std::log(sum);
  if (mode == update::replace) {
    log_sum_exp = own;
    return rotate({}, 1, 1 / sum, mixed, y, width);
  }
  const float most = std::max(log_sum_exp, own);
  const float together = most + std::log(std::exp(log_sum_exp - most) + std::exp(own - most));
  const float before = std::exp(log_sum_exp - together), share = std::exp(own - together) / sum;
  log_sum_exp = together;
  vector::for_each(width, [&](index_type e, auto load, auto store) {
    store(y + e, load(y + e) * before + load(mixed + e) * share);
  });
}

inline void cross_attention(cpu& backend, const cross_attention_shape& shape, input<float, 2> query,
                            input<float, 2> key_value, input<float, 2> bias, output<float, 2> y,
                            output<float, 3> log_sum_exp, update mode) {
  const index_type dim = shape.dim();
  const index_type cost = 4 * shape.head_dim * (shape.queries * std::min(shape.span, shape.keys) + shape.keys);
  backend.parallel_numbered(shape.batch * shape.heads, cost, [&](int thread, index_type begin, index_type end) {
    for (index_type task = begin; task < end; ++task) {
      const head_pair p(shape, task);
      const index_type packed = p.keys.packed_size(), width = p.keys.padded_width, tile = head_pair::tile * width;
      const auto [keys, values, transposed, queries, mixed, scores, reversed] = backend.thread_pieces(
          thread, std::array{packed, packed, packed, tile, tile, head_pair::tile * p.most_columns(),
                             head_pair::padded_bias(shape.span)});
      p.keys.gather_rows(key_value.data + p.keys.channel, 2 * dim, 0, p.keys.padded_count, keys);
      p.keys.gather_rows(key_value.data + dim + p.keys.channel, 2 * dim, 0, p.keys.padded_count, values);
      p.keys.transpose(keys, transposed);
      p.reverse(bias.data + task % shape.heads * shape.span, reversed);
      float* normaliser = log_sum_exp.data + task * shape.queries;

      p.for_each_tile(
          [&, transposed = transposed, values = values, queries = queries, mixed = mixed, scores = scores,
           reversed = reversed](index_type first, index_type rows, index_type first_key, index_type columns) {
            p.gather(query.data + p.queries.channel, dim, first, p.queries.scale, queries);
            p.product_with_transposed(queries, transposed, first_key, columns, scores);
            float largest[head_pair::tile], sum[head_pair::tile];
            for (index_type i = 0; i < rows; ++i) {
              float* row = scores + i * columns;
              const query_columns own(shape, first + i, first_key);
              own.add_bias(reversed, row);
              largest[i] = mask_row(own.seen, own.count, row + own.begin);
              sum[i] = exponentials(largest[i], own.count, row + own.begin);
              own.clear_others(columns, row);
            }
            small_product<update::replace>(head_pair::tile, width / vector::lanes, columns, scores, columns, 1,
                                           values + first_key * width, width, vector::lanes, mixed, width);
            for (index_type i = 0; i < rows; ++i)
              write_mixed(mixed + i * width, largest[i], sum[i], p.queries.width,
                          y.data + p.queries.row(first + i) * dim + p.queries.channel, normaliser[first + i], mode);
          });
    }
  });
}

inline void cross_attention_backward(cpu& backend, const cross_attention_shape& shape, input<float, 2> query,
                                     input<float, 2> key_value, input<float, 2> bias, input<float, 2> y,
                                     input<float, 3> log_sum_exp, input<float, 2> dy, output<float, 2> dquery,
                                     output<float, 2> dkey_value, output<float, 2> dbias) {
  const index_type dim = shape.dim(), tasks = shape.batch * shape.heads, padded = head_pair::padded_bias(shape.span);
  const index_type cost = 10 * shape.head_dim * (shape.queries * std::min(shape.span, shape.keys) + shape.keys);
  float* dbias_of_tasks = backend.shared_memory(tasks * padded);  // each reversed and padded
  std::fill_n(dbias_of_tasks, tasks * padded, 0.f);
  backend.parallel_numbered(tasks, cost, [&](int thread, index_type begin, index_type end) {
    for (index_type task = begin; task < end; ++task) {
      const head_pair p(shape, task);
      const index_type packed = p.keys.packed_size(), width = p.keys.padded_width, tile = head_pair::tile * width;
      const index_type vectors = width / vector::lanes, table = head_pair::tile * p.most_columns();
      const auto [keys, dkeys, dvalues, keys_transposed, values_transposed, queries, dmixed, mixed, dqueries, weights,
                  dscores, reversed] =
          backend.thread_pieces(
              thread, std::array{packed, packed, packed, packed, packed, tile, tile, tile, tile, table, table, padded});
      p.keys.gather_rows(key_value.data + dim + p.keys.channel, 2 * dim, 0, p.keys.padded_count, keys);
      p.keys.transpose(keys, values_transposed);
      p.keys.gather_rows(key_value.data + p.keys.channel, 2 * dim, 0, p.keys.padded_count, keys);
      p.keys.transpose(keys, keys_transposed);
      p.reverse(bias.data + task % shape.heads * shape.span, reversed);
      std::fill_n(dkeys, packed, 0.f);
      std::fill_n(dvalues, packed, 0.f);
      const float* normaliser = log_sum_exp.data + task * shape.queries;
      float* own_dbias = dbias_of_tasks + task * padded;

      p.for_each_tile([&, keys = keys, dkeys = dkeys, dvalues = dvalues, keys_transposed = keys_transposed,
                       values_transposed = values_transposed, queries = queries, dmixed = dmixed, mixed = mixed,
                       dqueries = dqueries, weights = weights, dscores = dscores, reversed = reversed](
                          index_type first, index_type rows, index_type first_key, index_type columns) {
        p.gather(query.data + p.queries.channel, dim, first, p.queries.scale, queries);
        p.gather(dy.data + p.queries.channel, dim, first, 1, dmixed);
        p.gather(y.data + p.queries.channel, dim, first, 1, mixed);
        p.product_with_transposed(queries, keys_transposed, first_key, columns, weights);
        p.product_with_transposed(dmixed, values_transposed, first_key, columns, dscores);
        for (index_type i = 0; i < rows; ++i) {
          float* row = weights + i * columns;
          float* gradient = dscores + i * columns;
          const query_columns own(shape, first + i, first_key);
          own.add_bias(reversed, row);
          softmax_row_backward(own.seen, normaliser[first + i], dot(mixed + i * width, dmixed + i * width, width),
                               own.count, row + own.begin, gradient + own.begin);
          own.clear_others(columns, row);
          own.clear_others(columns, gradient);
          add_row(gradient + own.begin, own_dbias + own.first_of_bias, own.count);
        }
        std::fill_n(weights + rows * columns, (head_pair::tile - rows) * columns, 0.f);
        std::fill_n(dscores + rows * columns, (head_pair::tile - rows) * columns, 0.f);
        const index_type key_rows = first_key * width;
        small_product<update::replace>(head_pair::tile, vectors, columns, dscores, columns, 1, keys + key_rows, width,
                                       vector::lanes, dqueries, width);
        small_product<update::add>(columns, vectors, head_pair::tile, dscores, 1, columns, queries, width,
                                   vector::lanes, dkeys + key_rows, width);
        small_product<update::add>(columns, vectors, head_pair::tile, weights, 1, columns, dmixed, width, vector::lanes,
                                   dvalues + key_rows, width);
        for (index_type i = 0; i < rows; ++i) {
          scale_row(p.queries.scale, width, dqueries + i * width);
          add_row(dqueries + i * width, dquery.data + p.queries.row(first + i) * dim + p.queries.channel,
                  p.queries.width);
        }
      });
      for (index_type j = 0; j < p.keys.count; ++j) {
        float* out = dkey_value.data + p.keys.row(j) * 2 * dim + p.keys.channel;
        add_row(dkeys + j * width, out, p.keys.width);
        add_row(dvalues + j * width, out + dim, p.keys.width);
      }
    }
  });
  for (index_type task = 0; task < tasks; ++task) {
    const float* last = dbias_of_tasks + task * padded + vector::lanes + shape.span - 1;
    float* own = dbias.data + task % shape.heads * shape.span;
    for (index_type distance = 0; distance < shape.span; ++distance) own[distance] += last[-distance];
  }
}

inline void cross_attention_step(cpu& backend, const cross_attention_shape& shape, index_type count,
                                 input<float, 2> query, input<float, 3> ring, input<float, 2> bias, output<float, 2> y,
                                 output<float, 3> log_sum_exp, update mode) {
  const float scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  const index_type dim = shape.dim(), width = shape.head_dim, seen = std::min(count, shape.span);
  const auto [score, mixed] = backend.thread_pieces(0, std::array{seen, width});
  for (index_type b = 0; b < shape.batch; ++b)
    for (index_type h = 0; h < shape.heads; ++h) {
      const float* own_query = query.data + b * dim + h * width;
      const auto key = [&](index_type distance) {
        return ring.data + (b * shape.span + (count - 1 - distance) % shape.span) * 2 * dim + h * width;
      };
      float largest = -std::numeric_limits<float>::infinity(), sum = 0;
      for (index_type j = 0; j < seen; ++j) {
        const float* own_key = key(j);
        vector::floats total{};
        vector::for_each(width,
                         [&](index_type e, auto load, auto) { total += load(own_query + e) * load(own_key + e); });
        score[j] = vector::sum(total) * scale + bias.data[h * shape.span + j];
        largest = std::max(largest, score[j]);
      }
      std::fill_n(mixed, width, 0.f);
      for (index_type j = 0; j < seen; ++j) {
        const float weight = std::exp(score[j] - largest);
        const float* value = key(j) + dim;
        sum += weight;
        vector::for_each(width, [&, mixed = mixed](index_type e, auto load, auto store) {
          store(mixed + e, load(mixed + e) + weight * load(value + e));
        });
      }
      write_mixed(mixed, largest, sum, width, y.data + b * dim + h * width, log_sum_exp.data[b * shape.heads + h],
                  mode);
    }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
