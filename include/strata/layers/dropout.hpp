// Dropout where a place in the model has it and the pass a seed: backward and recomputing draw the same mask again.
// Shapes: any.
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata {

template <class Backend>
bool drops(const pass<Backend>& p, const dropout_place& own) {
  return own.rate > 0 && p.dropout_seed.has_value();
}
template <class Backend>
dropout_mask mask_of(const pass<Backend>& p, const dropout_place& own) {
  return {own.rate, *p.dropout_seed, own.stream};
}

/// Of embeddings on the way forward and of their gradient on the way back.
template <class Backend, class S = typename Backend::scalar>
void dropout_in_place(const pass<Backend>& p, const dropout_place& own, output<S, 1> x) {
  if (drops(p, own)) dropout(p.backend, mask_of(p, own), x, x, update::replace);
}

/// y[R,N] += dropout(x[R,K] weight[N,K]^T): how a branch comes back to the residual stream. `room` [R,N] is free memory.
template <class Backend, class S = typename Backend::scalar>
void add_branch(const pass<Backend>& p, const dropout_place& own, input<S, 2> x, const tensor<2>& weight,
                output<S, 2> room, output<S, 2> y) {
  if (!drops(p, own)) return linear(p, x, weight, {}, y, update::add);
  linear(p, x, weight, {}, room, update::replace);
  dropout(p.backend, mask_of(p, own), room.flat(), y.flat(), update::add);
}

/// The gradient of the branch: dy, or what dropout lets through of it, in `room`.
template <class Backend, class S = typename Backend::scalar>
view<const S, 2> gradient_of_branch(const pass<Backend>& p, const dropout_place& own, input<S, 2> dy,
                                    output<S, 2> room) {
  if (!drops(p, own)) return dy;
  dropout(p.backend, mask_of(p, own), dy.flat(), room.flat(), update::replace);
  return room;
}

}  // namespace strata
