// Logits from the final embeddings of the predicting level, or of all levels side by side.
// Shapes: e_l [B,n_l,d_l] -> logits [B,T,V].
// Source: docs/model.md.
#pragma once

#include <span>

#include <strata/config/facts.hpp>
#include <strata/layers/pass.hpp>

namespace strata::inline STRATA_ABI {

struct head_parameters {
  tensor<2> to_logits;  // [V, d_p] or [V, sum d]
};
struct head_activations {
  tensor<3> logits;        // [B,T,V]; the losses replace them by their gradient
  tensor<3> concatenated;  // scratch [B,T,sum d], for logits from all levels; in backward also its gradient
};

template <class Table>
constexpr head_parameters declare_head(Table& table, index_type vocabulary, index_type dim) {
  using name = typename Table::name;
  return {table.add_output(name("to_logits.weight"), {vocabulary, dim}, linear_initialisation(dim))};
}

/// `concatenated_dim` is 0 if the predicting level alone makes the logits.
constexpr head_activations plan_head(activation_plan& plan, index_type concatenated_dim, index_type vocabulary,
                                     index_type batch, index_type tokens) {
  head_activations own;
  own.logits = plan.memory.add<3>({batch, tokens, vocabulary});
  if (concatenated_dim > 0) {
    memory_plan scratch;
    own.concatenated = scratch.add<3>({batch, tokens, concatenated_dim});
    plan.scratch_used(scratch);
  }
  return own;
}

/// The input of the map to the logits.
template <class Backend, class S = typename Backend::scalar>
view<S, 3> head_input(const pass<Backend>& p, std::span<const level_facts> levels, int predicting_level,
                      const head_activations& acts, std::span<const std::type_identity_t<view<S, 3>>> embeddings) {
  if (!acts.concatenated) return embeddings[static_cast<std::size_t>(predicting_level)];
  const auto x = p.scratch[acts.concatenated];
  for (std::size_t l = 0; l < levels.size(); ++l)
    repeat(p.backend, embeddings[l], levels[l].stride, index_type{levels[l].first_channel}, x);
  return x;
}

template <class Backend, class S = typename Backend::scalar>
void head_forward(const pass<Backend>& p, std::span<const level_facts> levels, int predicting_level,
                  const head_parameters& own, const head_activations& acts,
                  std::span<const std::type_identity_t<view<S, 3>>> embeddings) {
  const auto x = head_input(p, levels, predicting_level, acts, embeddings);
  linear(p, x.rows(), own.to_logits, {}, p.memory[acts.logits].rows(), update::replace);
}

/// Adds to `dembeddings`; the logits' memory holds their gradient.
template <class Backend, class S = typename Backend::scalar>
void head_backward(const pass<Backend>& p, std::span<const level_facts> levels, int predicting_level,
                   const head_parameters& own, const head_activations& acts,
                   std::span<const std::type_identity_t<view<S, 3>>> embeddings,
                   std::span<const std::type_identity_t<view<S, 3>>> dembeddings) {
  const auto dlogits = p.memory[acts.logits].rows();
  const auto x = head_input(p, levels, predicting_level, acts, embeddings);
  linear_backward_weight(p.backend, dlogits, x.rows(), p.gradients[own.to_logits], {});
  if (!acts.concatenated) {
    const auto dx = dembeddings[static_cast<std::size_t>(predicting_level)];
    linear_backward_input(p.backend, dlogits, p.weights[own.to_logits], dx.rows(), update::add);
    return;
  }
  const auto dconcatenated = x;
  linear_backward_input(p.backend, dlogits, p.weights[own.to_logits], dconcatenated.rows(), update::replace);
  for (std::size_t l = 0; l < levels.size(); ++l)
    repeat_backward(p.backend, dconcatenated, levels[l].stride, index_type{levels[l].first_channel}, dembeddings[l]);
}

}  // namespace strata
