// Matrix products with few rows, limited by memory; with many rows; sums over rows; rounding to bfloat16.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N]; dy [R,N] -> dbias [N].

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline constexpr index_type read_ahead = 4096;  // bytes

/// y[r, first..last) = or += scale[n] (x[r] . weight[n]) + bias[n], for `Rows` rows; an empty scale counts as 1. Goes
/// row by row through the weights, so that memory is read in order.
template <int Rows, class Weight>
inline void dot_rows(view<const float, 2> x, view<const Weight, 2> weight, view<const float, 1> scale,
                     view<const float, 1> bias, view<float, 2> y, update mode, index_type first, index_type last) {
  const index_type depth = x.shape[1], width = y.shape[1];
  constexpr int chains = Rows == 1 ? 4 : 2;                                      // independent sums
  constexpr int line = 64 / (vector::lanes * static_cast<int>(sizeof(Weight)));  // vectors of weights in a cache line
  constexpr int steps = line > chains ? line : chains;
  for (index_type n = first; n < last; ++n) {
    const Weight* w = weight.data + n * depth;
    vector::floats total[Rows][chains]{};
    index_type k = 0;
    for (; k + steps * vector::lanes <= depth; k += steps * vector::lanes) {
      // Float weights need no prefetch. Conversions leave the processor too little time to look ahead.
      if constexpr (sizeof(Weight) < sizeof(float))
        __builtin_prefetch(reinterpret_cast<const char*>(w + k) + read_ahead);
      STRATA_UNROLL
      for (int step = 0; step < steps; ++step) {
        const index_type at = k + step * vector::lanes;
        const vector::floats value = vector::load(w + at);
        STRATA_UNROLL
        for (int r = 0; r < Rows; ++r) total[r][step % chains] += value * vector::load(x.data + r * depth + at);
      }
    }
    vector::for_each(depth - k, [&](index_type rest, auto load, auto) {
      const vector::floats value = load(w + k + rest);
      STRATA_UNROLL
      for (int r = 0; r < Rows; ++r) total[r][0] += value * load(x.data + r * depth + k + rest);
    });
    for (int r = 0; r < Rows; ++r) {
      for (int chain = 1; chain < chains; ++chain) total[r][0] += total[r][chain];
      const float sum = vector::sum(total[r][0]) * (scale ? scale(n) : 1.f) + (bias ? bias(n) : 0.f);
      float& out = y.data[r * width + n];
      out = mode == update::add ? out + sum : sum;
    }
  }
}

template <class Weight>
inline void linear_few_rows(cpu& backend, view<const float, 2> x, view<const Weight, 2> weight,
                            view<const float, 1> scale, view<const float, 1> bias, view<float, 2> y, update mode) {
  backend.parallel(weight.shape[0], weight.shape[1], [&](index_type begin, index_type end) {
    switch (x.shape[0]) {
      case 0:
        return;
      case 1:
        return dot_rows<1>(x, weight, scale, bias, y, mode, begin, end);
      case 2:
        return dot_rows<2>(x, weight, scale, bias, y, mode, begin, end);
      case 3:
        return dot_rows<3>(x, weight, scale, bias, y, mode, begin, end);
      default:
        return dot_rows<4>(x, weight, scale, bias, y, mode, begin, end);
    }
  });
}

/// y[N,K] = scale[n] weight[N,K]; an empty scale counts as 1.
template <class Weight>
inline void unpack(cpu& backend, view<const Weight, 2> weight, view<const float, 1> scale, view<float, 2> y) {
  const index_type depth = weight.shape[1];
  backend.parallel(weight.shape[0], depth, [&](index_type begin, index_type end) {
    for (index_type n = begin; n < end; ++n)
      vector::for_each(depth, [&](index_type k, auto load, auto store) {
        store(y.data + n * depth + k, load(weight.data + n * depth + k) * (scale ? scale(n) : 1.f));
      });
  });
}

/// Terms and rows of one block: its packed data fit in the L2 cache.
inline constexpr index_type block_depth = 256, block_rows = 256;
inline constexpr index_type panel_width = tile_vectors * vector::lanes;

/// Columns of b for small_product: [vectors, depth, lanes]. Lanes past the last column hold any numbers.
inline void pack_columns(strided b, index_type depth, index_type columns, float* to) {
  using namespace vector;
  if (b.column == 1) {
    for (index_type k = 0; k < depth; ++k)
      for (index_type j = 0; j < columns; j += lanes) {
        const float* const from = b.data + k * b.row + j;
        store(to + j * depth + k * lanes, j + lanes <= columns ? load(from) : load_part(from, columns - j));
      }
    return;
  }
  for (index_type j = 0; j < columns; j += lanes)
    for (index_type k = 0; k < depth; k += lanes) {
      const index_type terms = std::min<index_type>(lanes, depth - k);
      floats square[lanes];
      for (index_type i = 0; i < lanes; ++i) {
        const float* const from = b.data + std::min(j + i, columns - 1) * b.column + k;
        square[i] = terms == lanes ? load(from) : load_part(from, terms);
      }
      transpose(square);
      for (index_type i = 0; i < terms; ++i) store(to + j * depth + (k + i) * lanes, square[i]);
    }
}

/// Whole tiles of rows of a, [rows / tile_rows, depth, tile_rows]; eight at a time, so that whole cache lines are read.
inline void pack_rows(strided a, index_type rows, index_type depth, float* to) {
  constexpr index_type together = 8 * tile_rows;
  for (index_type first = 0; first < rows; first += together)
    for (index_type k = 0; k < depth; ++k)
      for (index_type i = first; i < std::min(first + together, rows); i += tile_rows)
        std::memcpy(to + i * depth + k * tile_rows, a.data + i + k * a.column, tile_rows * sizeof(float));
}
/// One tile of fewer rows, padded with zeros.
inline void pack_last_rows(strided a, index_type rows, index_type depth, float* to) {
  for (index_type k = 0; k < depth; ++k)
    for (index_type i = 0; i < tile_rows; ++i)
      to[k * tile_rows + i] = i < rows ? a.data[i * a.row + k * a.column] : 0.f;
}

/// c[M,N] = or += a[M,K] b[K,N] for M up to block_rows and K up to block_depth; rows of c are `c_row` apart. A
/// row-major a is read in place. A column-major a and all of b are packed into this thread's memory. With `lower`, c
/// ends with a square whose upper triangle may be left out.
inline void product_block(cpu& backend, int thread, index_type rows, index_type width, index_type depth, strided a,
                          strided b, float* c, index_type c_row, update mode, bool lower = false) {
  const auto [panel, packed, last_rows, tile] = backend.thread_pieces<4>(
      thread, {block_depth * panel_width, block_depth * block_rows, block_depth * tile_rows, tile_rows * panel_width});
  const index_type whole_rows = rows / tile_rows * tile_rows;
  if (a.column != 1) pack_rows(a, whole_rows, depth, packed);
  if (whole_rows < rows) pack_last_rows(a.from(whole_rows, 0), rows - whole_rows, depth, last_rows);
  index_type vectors = 0;
  for (index_type first = 0; first < width; first += vectors * vector::lanes) {
    vectors = next_vectors((width - first + vector::lanes - 1) / vector::lanes);
    const index_type columns = std::min(vectors * vector::lanes, width - first);
    pack_columns(b.from(0, first), depth, columns, panel);
    const index_type above = lower ? std::max<index_type>(0, first - (width - rows)) : 0;  // rows that are left out
    for (index_type i = above / tile_rows * tile_rows; i < rows; i += tile_rows) {
      strided own{packed + i * depth, 1, tile_rows};
      if (i == whole_rows)
        own.data = last_rows;
      else if (a.column == 1)
        own = a.from(i, 0);
      const bool whole = i < whole_rows && columns == vectors * vector::lanes;
      float* const to = c + i * c_row + first;
      const auto product = whole && mode == update::add ? small_product<update::add> : small_product<update::replace>;
      product(tile_rows, vectors, depth, own.data, own.row, own.column, panel, vector::lanes, vector::lanes * depth,
              whole ? to : tile, whole ? c_row : panel_width);
      if (whole) continue;
      for (index_type r = 0; r < std::min<index_type>(tile_rows, rows - i); ++r)
        write_row(tile + r * panel_width, columns, to + r * c_row, mode);
    }
  }
}

/// c[M,N] = or += a[M,K] b[K,N] + bias[N] by one thread; rows of c are `c_row` apart. The order of a sum depends on K
/// alone.
inline void product(cpu& backend, int thread, index_type rows, index_type width, index_type depth, strided a, strided b,
                    const float* bias, float* c, index_type c_row, update mode) {
  for (index_type i = 0; i < rows; i += block_rows)
    for (index_type k = 0; k == 0 || k < depth; k += block_depth) {
      const index_type count = std::min(block_rows, rows - i);
      float* const to = c + i * c_row;
      if (bias != nullptr && k == 0)
        for (index_type r = 0; r < count; ++r) write_row(bias, width, to + r * c_row, mode);
      product_block(backend, thread, count, width, std::min(block_depth, depth - k), a.from(i, k), b.from(k, 0), to,
                    c_row, bias != nullptr || k > 0 ? update::add : mode);
    }
}

/// c[M,N] = or += a[M,K] b[K,N] + bias[N]. Threads share the longer side of c.
inline void multiply(cpu& backend, index_type depth, strided a, strided b, view<const float, 1> bias, view<float, 2> c,
                     update mode) {
  const auto [rows, width] = c.shape;
  const bool by_columns = width > rows;
  backend.parallel_numbered(
      std::max(rows, width), std::min(rows, width) * depth,
      [&, rows = rows, width = width](int thread, index_type begin, index_type end) {
        const index_type row = by_columns ? 0 : begin, column = by_columns ? begin : 0, count = end - begin;
        product(backend, thread, by_columns ? rows : count, by_columns ? count : width, depth, a.from(row, 0),
                b.from(0, column), bias ? bias.data + column : nullptr, c.data + row * width + column, width, mode);
      },
      by_columns ? index_type{vector::lanes} : index_type{tile_rows});
}

/// dbias[n] += sum over rows; threads own columns.
inline void add_column_sums(cpu& backend, view<const float, 2> dy, view<float, 1> dbias) {
  const auto [rows, width] = dy.shape;
  backend.parallel(
      width, rows,
      [&, rows = rows, width = width](index_type begin, index_type end) {
        for (index_type r = 0; r < rows; ++r) {
          const float* from = dy.data + r * width + begin;
          float* to = dbias.data + begin;
          vector::for_each(end - begin,
                           [&](index_type n, auto load, auto store) { store(to + n, load(to + n) + load(from + n)); });
        }
      },
      vector::lanes);
}

/// y[n] = x[n] rounded to the nearest bfloat16, ties to even.
inline void round_to_bfloat16(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(
      y.size(), 2,
      [&](index_type begin, index_type end) {
        vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
          store(y.data + begin + n, vector::nearest_bfloat16(load(x.data + begin + n)));
        });
      },
      vector::lanes);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
