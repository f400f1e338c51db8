// squared_norm, adam, adam_rows.
// Shapes: [N] flat buffers; rows of [V,D].
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

namespace reference_detail {

/// One weight and its moments after a step. `decay` is the weight decay.
template <class S>
void adam_element(const adam_settings& settings, const adam_constants& constants, S decay, S gradient, S& weight,
                  S& first_moment, S& second_moment) {
  const S beta1 = S(settings.beta1), beta2 = S(settings.beta2), rest1 = S(1 - settings.beta1);
  const S rest2 = S(1 - settings.beta2), rate = S(settings.learning_rate);
  S g = gradient * S(constants.clip);
  if (!settings.decoupled) g += decay * weight;
  first_moment = beta1 * first_moment + rest1 * g;
  second_moment = beta2 * second_moment + rest2 * g * g;
  const S root = std::sqrt(second_moment * S(constants.correction2)) + S(settings.epsilon);
  const S direction = first_moment * S(constants.correction1) / root;
  weight -= rate * (direction + (settings.decoupled ? decay * weight : S{0}));
}
template <class S>
bool all_finite(input<S, 1> measures) {
  for (index_type n = 0; n < measures.size(); ++n)
    if (!std::isfinite(measures(n))) return false;
  return true;
}

}  // namespace reference_detail

template <class S>
void adam(reference<S>&, const adam_settings& settings, input<S, 1> gradient, input<S, 1> measures, output<S, 1> weight,
          output<S, 1> first_moment, output<S, 1> second_moment) {
  if (!reference_detail::all_finite<S>(measures)) return;
  const adam_constants constants(settings, static_cast<double>(measures(0)));
  for (index_type n = 0; n < weight.size(); ++n)
    reference_detail::adam_element(settings, constants, n < settings.decayed ? S(settings.weight_decay) : S{0},
                                   gradient(n), weight(n), first_moment(n), second_moment(n));
}

template <class S>
void adam_rows(reference<S>&, const adam_settings& settings, view<const token, 1> rows, input<S, 2> gradient,
               input<S, 1> measures, output<S, 2> weight, output<S, 2> first_moment, output<S, 2> second_moment) {
  if (!reference_detail::all_finite<S>(measures)) return;
  const adam_constants constants(settings, static_cast<double>(measures(0)));
  for (index_type r = 0; r < rows.size(); ++r)
    for (index_type d = 0; d < gradient.shape[1]; ++d)
      if (const token row = rows(r); row >= 0)
        reference_detail::adam_element(settings, constants, S{0}, gradient(r, d), weight(row, d), first_moment(row, d),
                                       second_moment(row, d));
}

}  // namespace strata
