// A linear map with a bias, and its gradients in one call.
// Shapes: x [R,K] -> y [R,N].
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct linear_map {
  tensor<2> weight;  // [N,K]
  tensor<1> bias;    // [N]
};

/// `name`.weight and `name`.bias, with one initialisation.
template <class Table, class Name>
constexpr linear_map declare_linear_map(Table& table, const Name& name, index_type out, index_type in,
                                        initialisation initial) {
  linear_map own;
  own.weight = table.template add<2>(name + ".weight", {out, in}, initial);
  own.bias = table.template add<1>(name + ".bias", {out}, initial);
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void linear_map_forward(const pass<Backend>& p, const linear_map& own, input<S, 2> x, output<S, 2> y, update mode) {
  linear(p, x, own.weight, own.bias, y, mode);
}

/// dx[R,K] is replaced or added to; it may be x.
template <class Backend, class S = typename Backend::scalar>
void linear_map_backward(const pass<Backend>& p, const linear_map& own, input<S, 2> x, input<S, 2> dy, output<S, 2> dx,
                         update mode) {
  linear_backward_weight(p.backend, dy, x, p.gradients[own.weight], p.gradients[own.bias]);
  linear_backward_input(p.backend, dy, p.weights[own.weight], dx, mode);
}

}  // namespace strata
