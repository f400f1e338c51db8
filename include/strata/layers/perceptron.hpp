// Two linear maps without biases and GELU between them, for each row.
// Shapes: x [R,d] -> y [R,d].
// Source: docs/model.md, "Feed-forward".
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct perceptron_parameters {
  tensor<2> up;    // [hidden, d]
  tensor<2> down;  // [d, hidden]
};
struct perceptron_activations {
  tensor<2> hidden;     // [R, hidden]
  tensor<2> activated;  // scratch, as hidden, in backward the gradient of hidden
};

template <class Table, class Name>
constexpr perceptron_parameters declare_perceptron(Table& table, const Name& up, const Name& down, index_type dim,
                                                   index_type hidden) {
  perceptron_parameters own;
  own.up = table.template add<2>(up + ".weight", {hidden, dim}, linear_initialisation(dim));
  own.down = table.template add<2>(down + ".weight", {dim, hidden}, linear_initialisation(hidden));
  return own;
}

constexpr perceptron_activations plan_perceptron(memory_plan& memory, memory_plan& scratch, index_type rows,
                                                 index_type hidden) {
  return {memory.add<2>({rows, hidden}), scratch.add<2>({rows, hidden})};
}

template <class Backend, class S = typename Backend::scalar>
void perceptron_forward(const pass<Backend>& p, const perceptron_parameters& own, const perceptron_activations& acts,
                        input<S, 2> x, output<S, 2> y, update mode) {
  const auto activated = p.scratch[acts.activated];
  linear(p, x, own.up, {}, p.memory[acts.hidden], update::replace);
  gelu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  linear(p, activated, own.down, {}, y, mode);
}

/// dx[R,d] may be x.
template <class Backend, class S = typename Backend::scalar>
void perceptron_backward(const pass<Backend>& p, const perceptron_parameters& own, const perceptron_activations& acts,
                         input<S, 2> x, input<S, 2> dy, output<S, 2> dx) {
  const auto activated = p.scratch[acts.activated], dhidden = activated;
  gelu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  linear_backward_weight(p.backend, dy, activated, p.gradients[own.down], {});
  linear_backward_input(p.backend, dy, p.weights[own.down], dhidden, update::replace);
  gelu_backward(p.backend, p.memory[acts.hidden].flat(), dhidden.flat(), dhidden.flat());
  linear_backward_weight(p.backend, dhidden, x, p.gradients[own.up], {});
  linear_backward_input(p.backend, dhidden, p.weights[own.up], dx, update::replace);
}

}  // namespace strata
