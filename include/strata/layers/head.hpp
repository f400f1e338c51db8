// Logits from the final embeddings of the predicting level, or of all levels side by side.
// Shapes: e_l [B,n_l,d_l] -> logits [B,T,V].
// Source: docs/model.md.
#pragma once

#include <span>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata {

struct head_parameters {
  tensor<2> to_logits;  // [V, d_p] or [V, sum d]
};
struct head_activations {
  tensor<3> concatenated;   // [B,T,sum d], only with logits from all levels
  tensor<3> logits;         // [B,T,V]; the losses turn them into their gradient
  tensor<3> dconcatenated;  // scratch
};

template <class Table>
constexpr head_parameters declare_head(Table& table, index vocabulary, index dim) {
  using name = typename Table::name;
  return {table.template add<2>(name("to_logits.weight"), {vocabulary, dim}, linear_start(dim))};
}

/// `concatenated_dim` is 0 with logits from the predicting level alone.
constexpr head_activations plan_head(activation_plan& plan, index concatenated_dim, index vocabulary, index batch,
                                     index tokens) {
  head_activations own;
  if (concatenated_dim > 0) own.concatenated = plan.memory.add<3>({batch, tokens, concatenated_dim});
  own.logits = plan.memory.add<3>({batch, tokens, vocabulary});
  if (plan.training && concatenated_dim > 0) {
    memory_plan scratch;
    own.dconcatenated = scratch.add<3>(own.concatenated.shape);
    plan.scratch_used(scratch);
  }
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void head_forward(const pass<Backend>& p, std::span<const level_facts> levels, int predicting_level,
                  const head_parameters& own, const head_activations& acts,
                  std::span<const std::type_identity_t<view<S, 3>>> embeddings) {
  view<S, 3> x = embeddings[static_cast<std::size_t>(predicting_level)];
  if (acts.concatenated) {
    x = p.memory[acts.concatenated];
    for (std::size_t l = 0; l < levels.size(); ++l)
      repeat(p.backend, embeddings[l], levels[l].stride, index{levels[l].first_channel}, x);
  }
  linear(p.backend, x.rows(), p.weights[own.to_logits], {}, p.memory[acts.logits].rows(), update::replace);
}

/// Adds to `dembeddings`; the logits' memory holds their gradient.
template <class Backend, class S = typename Backend::scalar>
void head_backward(const pass<Backend>& p, std::span<const level_facts> levels, int predicting_level,
                   const head_parameters& own, const head_activations& acts,
                   std::span<const std::type_identity_t<view<S, 3>>> embeddings,
                   std::span<const std::type_identity_t<view<S, 3>>> dembeddings) {
  const auto dlogits = p.memory[acts.logits].rows();
  const auto predicting = static_cast<std::size_t>(predicting_level);
  if (!acts.concatenated) {
    linear_backward_weight(p.backend, dlogits, embeddings[predicting].rows(), p.gradients[own.to_logits], {});
    linear_backward_input(p.backend, dlogits, p.weights[own.to_logits], dembeddings[predicting].rows(), update::add);
    return;
  }
  const auto dconcatenated = p.scratch[acts.dconcatenated];
  linear_backward_weight(p.backend, dlogits, p.memory[acts.concatenated].rows(), p.gradients[own.to_logits], {});
  linear_backward_input(p.backend, dlogits, p.weights[own.to_logits], dconcatenated.rows(), update::replace);
  for (std::size_t l = 0; l < levels.size(); ++l)
    repeat_backward(p.backend, dconcatenated, levels[l].stride, index{levels[l].first_channel}, dembeddings[l]);
}

}  // namespace strata
