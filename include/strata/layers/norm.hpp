// LayerNorm or RMSNorm over token-shifted rows; a norm without bias is an RMSNorm.
// Shapes: x [B,n,D] -> y [B,n,D].
// Source: docs/model.md.
#pragma once

#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct norm_parameters {
  tensor<1> gain, bias;  // [D]
};
struct norm_activations {
  tensor<1> factor, mean;  // [B n]
};

/// PyTorch calls the gain of LayerNorm "weight"; the reference package calls the gain of RMSNorm "gamma".
template <class Table, class Name>
constexpr norm_parameters declare_layer_norm(Table& table, const Name& prefix, index_type dim) {
  norm_parameters own;
  own.gain = table.template add<1>(prefix + ".weight", {dim}, ones);
  own.bias = table.template add<1>(prefix + ".bias", {dim}, zeros);
  return own;
}
template <class Table, class Name>
constexpr norm_parameters declare_rms_norm(Table& table, const Name& prefix, index_type dim) {
  norm_parameters own;
  own.gain = table.template add<1>(prefix + ".gamma", {dim}, ones);
  return own;
}

constexpr norm_activations plan_norm(memory_plan& plan, index_type rows) {
  return {plan.add<1>({rows}), plan.add<1>({rows})};
}
/// Those of some of the rows.
constexpr norm_activations part_of(const norm_activations& acts, const text_rows& text) {
  const auto part = [&](const tensor<1>& all) {
    return tensor<1>{all.offset + text.first, {text.texts * text.positions}};
  };
  return {part(acts.factor), part(acts.mean)};
}

template <class Backend, class S = typename Backend::scalar>
void norm_forward(const pass<Backend>& p, const norm_parameters& own, const norm_activations& acts, input<S, 3> x,
                  int shift, output<S, 3> y) {
  if (own.bias)
    layer_norm(p.backend, x, p.weights[own.gain], p.weights[own.bias], shift, y, p.memory[acts.factor],
               p.memory[acts.mean]);
  else
    rms_norm(p.backend, x, p.weights[own.gain], shift, y, p.memory[acts.factor]);
}

/// Adds to `dx`.
template <class Backend, class S = typename Backend::scalar>
void norm_backward(const pass<Backend>& p, const norm_parameters& own, const norm_activations& acts, input<S, 3> x,
                   int shift, input<S, 3> dy, output<S, 3> dx) {
  if (own.bias)
    layer_norm_backward(p.backend, x, p.weights[own.gain], shift, p.memory[acts.factor], p.memory[acts.mean], dy, dx,
                        p.gradients[own.gain], p.gradients[own.bias]);
  else
    rms_norm_backward(p.backend, x, p.weights[own.gain], shift, p.memory[acts.factor], dy, dx, p.gradients[own.gain]);
}

}  // namespace strata
