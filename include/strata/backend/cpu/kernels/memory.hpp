// add.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// to[columns] = or += from[columns]
inline void write_row(const float* from, index_type columns, float* to, update mode) {
  vector::for_each(columns, [&](index_type n, auto load, auto store) {
    store(to + n, mode == update::add ? load(to + n) + load(from + n) : load(from + n));
  });
}

inline void add(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(y.size(), 1, [&](index_type begin, index_type end) {
    vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
      store(y.data + begin + n, load(y.data + begin + n) + load(x.data + begin + n));
    });
  });
}

inline void mix(cpu& backend, float keep, input<float, 1> x, output<float, 1> y) {
  backend.parallel(y.size(), 1, [&](index_type begin, index_type end) {
    vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
      store(y.data + begin + n, keep * load(y.data + begin + n) + (1 - keep) * load(x.data + begin + n));
    });
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
