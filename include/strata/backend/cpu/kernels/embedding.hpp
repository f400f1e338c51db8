// embed, embed_backward.
// Shapes: ids [R], table [V,D] -> [R,D].
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void embed(cpu& backend, view<const token, 1> ids, input<float, 2> table, output<float, 2> y, update mode) {
  const index_type dim = y.shape[1];
  backend.parallel(y.shape[0], dim, [&](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      float* row = y.data + r * dim;
      if (ids(r) >= 0)
        write_row(table.data + ids(r) * dim, dim, row, mode);
      else if (mode == update::replace)
        std::fill(row, row + dim, 0.f);
    }
  });
}

/// Threads own columns: no two threads add to one element, and sums have a fixed order.
inline void embed_backward(cpu& backend, view<const token, 1> ids, input<float, 2> dy, output<float, 2> dtable) {
  const auto [rows, dim] = dy.shape;
  backend.parallel(
      dim, rows,
      [&, rows = rows, dim = dim](index_type begin, index_type end) {
        for (index_type r = 0; r < rows; ++r) {
          if (ids(r) < 0) continue;
          const float* from = dy.data + r * dim + begin;
          float* to = dtable.data + ids(r) * dim + begin;
          vector::for_each(end - begin,
                           [&](index_type d, auto load, auto store) { store(to + d, load(to + d) + load(from + d)); });
        }
      },
      vector::lanes);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
