// Dropout, if the rate is above 0 and the pass has a seed. Backward and recomputing draw the same mask again.
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

template <class Backend>
bool drops(const pass<Backend>& p, const dropout_layer& own) {
  return own.rate > 0 && p.dropout_seed.has_value();
}
template <class Backend>
dropout_mask mask_of(const pass<Backend>& p, const dropout_layer& own) {
  return {own.rate, *p.dropout_seed, own.stream};
}

/// Drops elements of x: activations in the forward pass, their gradient in the backward pass.
template <class Backend, class S = typename Backend::scalar>
void dropout_in_place(const pass<Backend>& p, const dropout_layer& own, output<S, 1> x) {
  if (drops(p, own)) dropout(p.backend, mask_of(p, own), x, x, update::replace);
}

/// y = x + dropout(branch). `write(mode)` computes the branch and replaces y by it, or adds it to y.
template <class Backend, class Write, class S = typename Backend::scalar>
void add_branch(const pass<Backend>& p, const dropout_layer& own, input<S, 1> x, output<S, 1> y, Write write) {
  if (!drops(p, own)) {
    copy(p.backend, x, y);
    return write(update::add);
  }
  write(update::replace);
  dropout_in_place(p, own, y);
  add(p.backend, x, y);
}

/// The gradient of the branch: dy, or with dropout the masked dy, in `room`.
template <class Backend, class S = typename Backend::scalar>
view<const S, 3> gradient_of_branch(const pass<Backend>& p, const dropout_layer& own, input<S, 3> dy,
                                    output<S, 3> room) {
  if (!drops(p, own)) return dy;
  dropout(p.backend, mask_of(p, own), dy.flat(), room.flat(), update::replace);
  return room;
}

}  // namespace strata
