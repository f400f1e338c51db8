// add.
// Shapes: [N] in, [N] out.
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void add(cpu& backend, input<float, 1> x, output<float, 1> y) {
  backend.parallel(y.size(), 1, [&](index_type begin, index_type end) {
    vector::for_each(end - begin, [&](index_type n, auto load, auto store) {
      store(y.data + begin + n, load(y.data + begin + n) + load(x.data + begin + n));
    });
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
