// Products of small matrices; a tile of the result stays in registers.
// Shapes: a [M,K], b [K,N] -> c [M,N].
// Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication".

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline constexpr index_type round_up(index_type count, index_type multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

/// c[Rows, Vectors lanes] = or += sum over k of a(i,k) b[k,:], where a(i,k) = a[i a_row + k a_step] and
/// vector j of row k of b is at b + k b_step + j b_vector.
template <int Rows, int Vectors, update Mode>
STRATA_ALWAYS_INLINE void product_tile(index_type depth, const float* a, index_type a_row, index_type a_step,
                                       const float* b, index_type b_step, index_type b_vector, float* c,
                                       index_type c_row) {
  using namespace vector;
  floats total[Rows][Vectors];
  STRATA_UNROLL
  for (int i = 0; i < Rows; ++i) STRATA_UNROLL
  for (int j = 0; j < Vectors; ++j) total[i][j] = floats{};
  for (index_type k = 0; k < depth; ++k) {
    floats column[Vectors];
    STRATA_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      floats own = load(b + k * b_step + j * b_vector);
      pin(own);
      column[j] = own;
    }
    STRATA_UNROLL
    for (int i = 0; i < Rows; ++i) {
      floats value = all(a[i * a_row + k * a_step]);
      if constexpr (lanes == 16) pin(value);  // 16 registers have no space for it
      STRATA_UNROLL
      for (int j = 0; j < Vectors; ++j) total[i][j] += value * column[j];
    }
  }
  STRATA_UNROLL
  for (int i = 0; i < Rows; ++i) STRATA_UNROLL
  for (int j = 0; j < Vectors; ++j) {
    float* const to = c + i * c_row + j * lanes;
    store(to, Mode == update::add ? load(to) + total[i][j] : total[i][j]);
  }
}

/// As many rows and vectors as fit in the registers: 32, 16, or 16 without FMA, where a product needs a copy.
inline constexpr int tile_rows = vector::lanes == 16 ? 8 : 4;
#if defined(__x86_64__) && STRATA_VECTOR_BYTES == 16
inline constexpr int tile_vectors = 2;
#else
inline constexpr int tile_vectors = 3;
#endif

/// Vectors of the next tile. 4 become 2 + 2: a tile of one vector is slow.
inline constexpr index_type next_vectors(index_type left) {
  return left == 4 || left == 2 ? 2 : std::min<index_type>(left, tile_vectors);
}

/// product_tile over `rows` (a multiple of tile_rows) and `vectors`.
template <update Mode>
inline void small_product(index_type rows, index_type vectors, index_type depth, const float* a, index_type a_row,
                          index_type a_step, const float* b, index_type b_step, index_type b_vector, float* c,
                          index_type c_row) {
  for (index_type i = 0; i < rows; i += tile_rows) {
    const float* a_tile = a + i * a_row;
    float* c_tile = c + i * c_row;
    for (index_type j = 0, take; j < vectors; j += take) {
      take = next_vectors(vectors - j);
      const float* b_tile = b + j * b_vector;
      float* c_part = c_tile + j * vector::lanes;
      if (take == 3)
        product_tile<tile_rows, 3, Mode>(depth, a_tile, a_row, a_step, b_tile, b_step, b_vector, c_part, c_row);
      else if (take == 2)
        product_tile<tile_rows, 2, Mode>(depth, a_tile, a_row, a_step, b_tile, b_step, b_vector, c_part, c_row);
      else
        product_tile<tile_rows, 1, Mode>(depth, a_tile, a_row, a_step, b_tile, b_step, b_vector, c_part, c_row);
    }
  }
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
