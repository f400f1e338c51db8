// Next-token cross-entropy, in nats.
// Shapes: logits [B,T,V], labels [B,T] -> loss [1]; the logits become their gradient.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/losses/context.hpp>

namespace strata::inline STRATA_ABI {

template <class Config>
struct cross_entropy_loss {
  static constexpr std::string_view name = "cross_entropy";
  static constexpr double default_weight = 1;
  struct parameters {};
  struct activations {};

  template <class Table>
  static constexpr parameters declare(Table&) {
    return {};
  }
  static constexpr activations plan(activation_plan&, index_type, index_type) { return {}; }

  /// The logits are part of the forward pass.
  static constexpr double head_flops(index_type, index_type) { return 0; }

  template <class Backend, class S = typename Backend::scalar>
  static void evaluate(const loss_context<Config, Backend>& context, const parameters&, const activations&,
                       double weight, output<S, 1> loss) {
    const auto logits = context.logits.rows();
    cross_entropy(context.p.backend, logits, context.labels.flat(), token{Config::ignore_index}, static_cast<S>(weight),
                  loss, context.gradients ? logits : view<S, 2>{});
  }
};

}  // namespace strata
