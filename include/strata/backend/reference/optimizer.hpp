// squared_norm, adam.
// Shapes: [N] flat buffers.
// Source: Kingma and Ba, arXiv 1412.6980; Loshchilov and Hutter, arXiv 1711.05101 (decoupled decay).
#pragma once

#include <cmath>

#include <strata/backend/reference/context.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void squared_norm(reference<S>&, input<S, 1> x, output<S, 1> result) {
  double total = 0;
  for (index_type n = 0; n < x.size(); ++n) total += static_cast<double>(x(n)) * static_cast<double>(x(n));
  result(0) = static_cast<S>(total);
}

template <class S>
void adam(reference<S>&, const adam_settings& settings, input<S, 1> gradient, input<S, 1> measures, output<S, 1> weight,
          output<S, 1> first_moment, output<S, 1> second_moment) {
  for (index_type n = 0; n < measures.size(); ++n)
    if (!std::isfinite(measures(n))) return;
  const adam_constants constants(settings, static_cast<double>(measures(0)));
  const S beta1 = S(settings.beta1), beta2 = S(settings.beta2), rest1 = S(1 - settings.beta1);
  const S rest2 = S(1 - settings.beta2), rate = S(settings.learning_rate);
  for (index_type n = 0; n < weight.size(); ++n) {
    const S decay = n < settings.decayed ? S(settings.weight_decay) : S{0};
    S g = gradient(n) * S(constants.clip);
    if (!settings.decoupled) g += decay * weight(n);
    first_moment(n) = beta1 * first_moment(n) + rest1 * g;
    second_moment(n) = beta2 * second_moment(n) + rest2 * g * g;
    const S root = std::sqrt(second_moment(n) * S(constants.correction2)) + S(settings.epsilon);
    const S direction = first_moment(n) * S(constants.correction1) / root;
    weight(n) -= rate * (direction + (settings.decoupled ? decay * weight(n) : S{0}));
  }
}

}  // namespace strata
