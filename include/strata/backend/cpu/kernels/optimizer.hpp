// squared_norm, adam.
// Shapes: [N] flat buffers.
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

inline void adam(cpu& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> measures,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  for (index_type n = 0; n < measures.size(); ++n)
    if (!std::isfinite(measures(n))) return;
  const adam_constants constants(settings, static_cast<double>(measures(0)));
  const float beta1 = static_cast<float>(settings.beta1), beta2 = static_cast<float>(settings.beta2);
  // Subtracts in double: in float, 1 - 0.999 loses five digits.
  const float rest1 = static_cast<float>(1 - settings.beta1), rest2 = static_cast<float>(1 - settings.beta2);
  const float clip = static_cast<float>(constants.clip), rate = static_cast<float>(settings.learning_rate);
  const float correction1 = static_cast<float>(constants.correction1);
  const float root_correction2 = static_cast<float>(std::sqrt(constants.correction2));
  const float epsilon = static_cast<float>(settings.epsilon);

  const float coupled = settings.decoupled ? 0.f : static_cast<float>(settings.weight_decay);
  const float decoupled = settings.decoupled ? static_cast<float>(settings.weight_decay) : 0.f;

  const auto update_range = [&](index_type first, index_type count, float coupled_decay, float decoupled_decay) {
    backend.parallel(
        count, 16,
        [=](index_type begin, index_type end) {
          vector::for_each(end - begin, [=](index_type n, auto load, auto store) {
            float* w = weight.data + first + begin + n;
            float* m = first_moment.data + first + begin + n;
            float* v = second_moment.data + first + begin + n;
            const vector::floats weights = load(w);
            const vector::floats g = load(gradient.data + first + begin + n) * clip + coupled_decay * weights;
            const vector::floats mean = beta1 * load(m) + rest1 * g, square = beta2 * load(v) + rest2 * g * g;
            store(m, mean);
            store(v, square);
            store(w, weights - rate * (mean * correction1 / (vector::sqrt(square) * root_correction2 + epsilon) +
                                       decoupled_decay * weights));
          });
        },
        vector::lanes);
  };
  update_range(0, settings.decayed, coupled, decoupled);
  update_range(settings.decayed, weight.size() - settings.decayed, 0.f, 0.f);
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
