// route, add_routed, add_routed_backward.
// Shapes: scores [B,n] -> rows, gate [B,m]; x [R,D] -> y [N,D].
// Source: backend/backend.hpp. A position depends on earlier ones, so threads own whole texts; then distinct rows.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void route(cpu& backend, double capacity, int dilation, index_type first, input<float, 2> scores,
                  output<float, 2> budget, view<token, 2> rows, output<float, 2> gate) {
  const index_type positions = scores.shape[1], most = rows.shape[1];
  backend.parallel(rows.shape[0], 16 * positions, [&](index_type begin, index_type end) {
    for (index_type b = begin; b < end; ++b) {
      index_type selected = b * most;
      for (int sequence = 0; sequence < dilation; ++sequence) {
        float left = budget(sequence, b);
        index_type raised = routing_budget(capacity, first);
        for (index_type i = sequence, j = first; i < positions; i += dilation, ++j) {
          const index_type before = std::exchange(raised, routing_budget(capacity, j + 1));
          left += static_cast<float>(raised - before);
          const float score = scores(b, i);
          if (!(score > 0 && left >= 1)) continue;
          left -= 1;
          rows.data[selected] = static_cast<token>(b * positions + i);
          gate.data[selected++] = std::tanh(score);
        }
        budget(sequence, b) = left;
      }
      std::fill(rows.data + selected, rows.data + (b + 1) * most, token{-1});
      std::fill(gate.data + selected, gate.data + (b + 1) * most, 0.f);
    }
  });
}

inline void add_routed(cpu& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                       output<float, 2> y) {
  const auto [count, dim] = x.shape;
  backend.parallel(count, dim, [&, dim = dim](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      if (rows(r) < 0) continue;
      const float weight = gate(r);
      const float* from = x.data + r * dim;
      float* to = y.data + rows(r) * dim;
      vector::for_each(
          dim, [&](index_type d, auto load, auto store) { store(to + d, load(to + d) + weight * load(from + d)); });
    }
  });
}

inline void add_routed_backward(cpu& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                                input<float, 2> dy, output<float, 2> dx, output<float, 1> dscore) {
  const auto [count, dim] = x.shape;
  std::fill_n(dscore.data, dscore.size(), 0.f);
  backend.parallel(count, 3 * dim, [&, dim = dim](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      float* to = dx.data + r * dim;
      if (rows(r) < 0) {
        std::fill_n(to, dim, 0.f);
        continue;
      }
      const float weight = gate(r);
      const float* own = x.data + r * dim;
      const float* slope = dy.data + rows(r) * dim;
      const float dgate = sum_over(dim, [&](index_type d, auto load) { return load(own + d) * load(slope + d); });
      vector::for_each(dim, [&](index_type d, auto load, auto store) { store(to + d, weight * load(slope + d)); });
      dscore(rows(r)) = (1 - weight * weight) * dgate;
    }
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
