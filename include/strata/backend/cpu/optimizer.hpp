// squared_norm, adam.
// Shapes: [N] flat buffers.
// Source: backend/backend.hpp.
#pragma once

#include <cmath>

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/eigen.hpp>
#include <strata/backend/cpu/losses.hpp>
#include <strata/backend/cpu/vector.hpp>

namespace strata {

inline void squared_norm(cpu& backend, input<float, 1> x, output<float, 1> result) {
  constexpr index block = 4096;  // short sums in float, long ones in double
  cpu_detail::thread_sums sums(backend);
  backend.parallel_numbered((x.size() + block - 1) / block, block, [&](int thread, index begin, index end) {
    for (index b = begin; b < end; ++b) {
      const float* from = x.data + b * block;
      sums[thread] += static_cast<double>(cpu_detail::sum_over(
          std::min(block, x.size() - b * block), [&](index n, auto load) { return load(from + n) * load(from + n); }));
    }
  });
  result(0) = static_cast<float>(sums.total());
}

inline void adam(cpu& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> squared_norm,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  if (!std::isfinite(squared_norm(0))) return;
  const adam_constants constants(settings, static_cast<double>(squared_norm(0)));
  const float beta1 = static_cast<float>(settings.beta1), beta2 = static_cast<float>(settings.beta2);
  // In double first: 1 - 0.999 in float has lost five digits.
  const float rest1 = static_cast<float>(1 - settings.beta1), rest2 = static_cast<float>(1 - settings.beta2);
  const float clip = static_cast<float>(constants.clip), rate = static_cast<float>(settings.learning_rate);
  const float correction1 = static_cast<float>(constants.correction1);
  const float root_correction2 = static_cast<float>(std::sqrt(constants.correction2));
  const float epsilon = static_cast<float>(settings.epsilon);

  const float coupled = settings.decoupled ? 0.f : static_cast<float>(settings.weight_decay);
  const float decoupled = settings.decoupled ? static_cast<float>(settings.weight_decay) : 0.f;

  const auto update_range = [&](index first, index count, float coupled_decay, float decoupled_decay) {
    backend.parallel(
        count, 16,
        [=](index begin, index end) {
          // Eigen, because the compiler turns no square root into vectors where it must set errno.
          using array = Eigen::Map<Eigen::ArrayXf>;
          constexpr index block = 2048;  // what is used twice stays in the first cache
          for (index n = first + begin; n < first + end; n += block) {
            const index size = std::min(block, first + end - n);
            const Eigen::Map<const Eigen::ArrayXf> g(gradient.data + n, size);
            array w(weight.data + n, size), m(first_moment.data + n, size), v(second_moment.data + n, size);
            m = beta1 * m + rest1 * (g * clip + coupled_decay * w);
            v = beta2 * v + rest2 * (g * clip + coupled_decay * w).square();
            w -= rate * (m * correction1 / (v.sqrt() * root_correction2 + epsilon) + decoupled_decay * w);
          }
        },
        vector::lanes);
  };
  update_range(0, settings.decayed, coupled, decoupled);
  update_range(settings.decayed, weight.size() - settings.decayed, 0.f, 0.f);
}

}  // namespace strata
