// dropout.
// Shapes: [N] in, [N] out; x and y may be the same.
// Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
#pragma once

#include <strata/backend/reference/context.hpp>
#include <strata/core/random.hpp>

namespace strata::inline STRATA_ABI {

template <class S>
void dropout(reference<S>&, const dropout_mask& mask, input<S, 1> x, output<S, 1> y, update mode) {
  const random_source random(mask.seed);
  const S scale = static_cast<S>(mask.scale());
  for (index_type n = 0; n < y.size(); ++n) {
    const auto words = random.words(mask.stream, static_cast<std::uint64_t>(n / 64 * 16 + n % 16));
    const S kept = words[static_cast<std::size_t>(n % 64 / 16)] >= mask.threshold() ? scale * x(n) : S{0};
    y(n) = mode == update::add ? y(n) + kept : kept;
  }
}

}  // namespace strata
