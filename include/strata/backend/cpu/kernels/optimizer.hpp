// squared_norm, adam, adam_rows.
// Shapes: [N] flat buffers; rows of [V,D].
// Source: backend/backend.hpp.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

inline void squared_norm(cpu& backend, input<float, 1> x, output<float, 1> result) {
  constexpr index_type block = 4096;  // short sums in float, long ones in double
  thread_sums sums(backend);
  backend.parallel_numbered((x.size() + block - 1) / block, block, [&](int thread, index_type begin, index_type end) {
    for (index_type b = begin; b < end; ++b) {
      const float* from = x.data + b * block;
      sums[thread] += static_cast<double>(sum_over(std::min(block, x.size() - b * block), [&](index_type n, auto load) {
        return load(from + n) * load(from + n);
      }));
    }
  });
  result(0) = static_cast<float>(sums.total());
}

/// What a step of Adam computes with, in float.
struct adam_floats {
  float beta1, rest1, beta2, rest2, clip, rate, correction1, root_correction2, epsilon;
  adam_floats(const adam_settings& settings, double squared_norm) {
    const adam_constants constants(settings, squared_norm);
    beta1 = static_cast<float>(settings.beta1);
    beta2 = static_cast<float>(settings.beta2);
    // Subtracts in double: in float, 1 - 0.999 loses five digits.
    rest1 = static_cast<float>(1 - settings.beta1);
    rest2 = static_cast<float>(1 - settings.beta2);
    clip = static_cast<float>(constants.clip);
    rate = static_cast<float>(settings.learning_rate);
    correction1 = static_cast<float>(constants.correction1);
    root_correction2 = static_cast<float>(std::sqrt(constants.correction2));
    epsilon = static_cast<float>(settings.epsilon);
  }
  /// Changes `count` weights w and their moments m, v; g is their gradient. One of the two decays is 0.
  STRATA_ALWAYS_INLINE void change(index_type count, const float* g, float* w, float* m, float* v, float coupled_decay,
                                   float decoupled_decay) const {
    vector::for_each(count, [&](index_type n, auto load, auto store) {
      const vector::floats weights = load(w + n);
      const vector::floats gradient = load(g + n) * clip + coupled_decay * weights;
      const vector::floats mean = beta1 * load(m + n) + rest1 * gradient,
                           square = beta2 * load(v + n) + rest2 * gradient * gradient;
      store(m + n, mean);
      store(v + n, square);
      store(w + n, weights - rate * (mean * correction1 / (vector::sqrt(square) * root_correction2 + epsilon) +
                                     decoupled_decay * weights));
    });
  }
};
inline bool all_finite(input<float, 1> measures) {
  for (index_type n = 0; n < measures.size(); ++n)
    if (!std::isfinite(measures(n))) return false;
  return true;
}

inline void adam(cpu& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> measures,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  if (!all_finite(measures)) return;
  const adam_floats step(settings, static_cast<double>(measures(0)));
  const float coupled = settings.decoupled ? 0.f : static_cast<float>(settings.weight_decay);
  const float decoupled = settings.decoupled ? static_cast<float>(settings.weight_decay) : 0.f;
  const auto update_range = [&](index_type first, index_type count, float coupled_decay, float decoupled_decay) {
    backend.parallel(
        count, 16,
        [=](index_type begin, index_type end) {
          const index_type from = first + begin;
          step.change(end - begin, gradient.data + from, weight.data + from, first_moment.data + from,
                      second_moment.data + from, coupled_decay, decoupled_decay);
        },
        vector::lanes);
  };
  update_range(0, settings.decayed, coupled, decoupled);
  update_range(settings.decayed, weight.size() - settings.decayed, 0.f, 0.f);
}

inline void adam_rows(cpu& backend, const adam_settings& settings, view<const token, 1> rows, input<float, 2> gradient,
                      input<float, 1> measures, output<float, 2> weight, output<float, 2> first_moment,
                      output<float, 2> second_moment) {
  if (!all_finite(measures)) return;
  const adam_floats step(settings, static_cast<double>(measures(0)));
  const index_type dim = gradient.shape[1];
  backend.parallel(rows.size(), 16 * dim, [=](index_type begin, index_type end) {
    for (index_type r = begin; r < end; ++r) {
      if (rows(r) < 0) continue;
      const index_type at = rows(r) * dim;
      step.change(dim, gradient.data + r * dim, weight.data + at, first_moment.data + at, second_moment.data + at, 0.f,
                  0.f);
    }
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
