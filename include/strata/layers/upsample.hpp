// From the coarse stream of an hourglass back to the fine one: a linear map of each coarse position is cut into one piece for
// each token from its own on up to the next position's, and added.
// Shapes: coarse [B,n,d_c] -> spread [B,n,d s]; fine [B,T,d] + spread -> [B,T,d].
// Source: Nawrot et al., "Hierarchical transformers are more efficient language models", arXiv 2110.13711.
#pragma once

#include <strata/layers/linear_map.hpp>

namespace strata {

using upsample_parameters = linear_map;  // [d s, d_c]
struct upsample_activations {
  tensor<3> coarse;  // [B,n,d_c]
  tensor<3> x, y;    // [B,T,d], the fine stream before and after
  tensor<3> spread;  // scratch [B,n,d s], in backward its gradient
};

template <class Table>
constexpr upsample_parameters declare_upsample(Table& table, index dim, index stride, index coarse_dim) {
  using name = typename Table::name;
  return declare_linear_map(table, name("upsample"), dim * stride, coarse_dim, linear_start(coarse_dim));
}

constexpr upsample_activations plan_upsample(activation_plan& plan, index stride, const tensor<3>& coarse,
                                             const tensor<3>& x, const tensor<3>& y) {
  memory_plan scratch;
  const tensor<3> spread = scratch.add<3>({coarse.shape[0], coarse.shape[1], x.shape[2] * stride});
  plan.scratch_used(scratch);
  return {coarse, x, y, spread};
}

template <class Backend, class S = typename Backend::scalar>
void upsample_spread(const pass<Backend>& p, const upsample_parameters& own, input<S, 3> coarse, output<S, 3> spread) {
  linear_map_forward(p, own, coarse.rows(), spread.rows(), update::replace);
}

/// y = x + the pieces: unfold's transpose puts piece k of position i at token i s + k - passed, where `passed` tokens of the
/// first position are over.
template <class Backend, class S = typename Backend::scalar>
void upsample_add(const pass<Backend>& p, int stride, input<S, 3> spread, index passed, input<S, 3> x, output<S, 3> y) {
  copy(p.backend, x.flat(), y.flat());
  unfold_backward(p.backend, spread, stride, stride, stride - 1 - passed, y);
}

/// Without `add` the fine stream goes on alone.
template <class Backend>
void upsample_forward(const pass<Backend>& p, int stride, const upsample_parameters& own,
                      const upsample_activations& acts, bool add) {
  const auto x = p.memory[acts.x], y = p.memory[acts.y];
  if (!add) return copy(p.backend, x.flat(), y.flat());
  const auto spread = p.scratch[acts.spread];
  upsample_spread(p, own, p.memory[acts.coarse], spread);
  upsample_add(p, stride, spread, 0, x, y);
}

/// `dy` is also the gradient of the fine stream before; adds to `dcoarse`.
template <class Backend, class S = typename Backend::scalar>
void upsample_backward(const pass<Backend>& p, int stride, const upsample_parameters& own,
                       const upsample_activations& acts, input<S, 3> dy, output<S, 3> dcoarse) {
  const auto dspread = p.scratch[acts.spread];
  unfold(p.backend, dy, stride, stride, index{stride} - 1, dspread);
  linear_map_backward(p, own, p.memory[acts.coarse].rows(), dspread.rows(), dcoarse.rows(), update::add);
}

}  // namespace strata
