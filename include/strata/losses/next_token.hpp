// Next-token cross-entropy, in nats. Every model has this loss.
// Shapes: logits [B,T,V], labels [B,T] -> loss [1]; the gradient replaces the logits.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

struct next_token {
  double weight = 1;
  model_facts model = {};

  static constexpr std::string_view name = "cross_entropy";
  struct parameters {};
  struct activations {};

  template <class Table>
  constexpr parameters declare(Table&) const {
    return {};
  }
  constexpr activations plan(activation_plan&, index_type, index_type) const { return {}; }
  /// The logits are part of the forward pass.
  constexpr double head_flops(index_type, index_type) const { return 0; }

  template <class Backend, class S = typename Backend::scalar>
  void evaluate(const loss_context<Backend>& context, const parameters&, const activations&, double scale,
                output<S, 1> loss) const {
    const auto logits = context.logits.rows();
    cross_entropy(context.p.backend, logits, context.labels.flat(), context.ignore_index, static_cast<S>(scale), loss,
                  context.gradients ? logits : view<S, 2>{});
  }
};

}  // namespace strata
