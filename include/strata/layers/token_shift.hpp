// The input of both halves of a block: a norm and a token shift. Either the norm reads rows with half of their channels
// from the position before, or the normed position before is added, each channel times a learned number.
// Shapes: x [B,n,d] -> y [B,n,d].
// Source: docs/model.md, "Token shift"; RWKV, arXiv 2305.13048.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/norm.hpp>

namespace strata::inline STRATA_ABI {

struct token_shift_parameters {
  norm_parameters norm;
  tensor<1> share;  // [d] how much of the position before is added, if the shift is learned
};
struct token_shift_activations {
  norm_activations norm;
  tensor<3> normed;  // scratch [B,n,d], only if the shift is learned
};

/// `norm` is declared by the caller. `prefix` is that of the half of the block.
template <class Table, class Name>
constexpr token_shift_parameters declare_token_shift(Table& table, const Name& prefix, const level_facts& level,
                                                     const norm_parameters& norm) {
  token_shift_parameters own;
  own.norm = norm;
  if (level.learned_shift) own.share = table.template add<1>(prefix + ".shift", {level.dim}, zeros);
  return own;
}

constexpr token_shift_activations plan_token_shift(memory_plan& memory, memory_plan& scratch, const level_facts& level,
                                                   index_type batch, index_type positions) {
  token_shift_activations own;
  own.norm = plan_norm(memory, batch * positions);
  if (level.learned_shift) own.normed = scratch.add<3>({batch, positions, level.dim});
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void token_shift_forward(const pass<Backend>& p, const level_facts& level, const token_shift_parameters& own,
                         const token_shift_activations& acts, input<S, 3> x, output<S, 3> y) {
  if (!own.share)
    return for_each_text(p, x, [&](const text_rows& text) {
      norm_forward(p, own.norm, part_of(acts.norm, text), text.of(x), level.dilation, text.of(y));
    });
  const auto normed = p.scratch[acts.normed];
  norm_forward(p, own.norm, acts.norm, x, 0, normed);
  for_each_text(p, x, [&](const text_rows& text) {
    add_previous(p.backend, text.of(normed), p.weights[own.share], level.dilation, text.of(y));
  });
}

/// Call it after `token_shift_forward`, on the same scratch memory. Adds to `dx`.
template <class Backend, class S = typename Backend::scalar>
void token_shift_backward(const pass<Backend>& p, const level_facts& level, const token_shift_parameters& own,
                          const token_shift_activations& acts, input<S, 3> x, input<S, 3> dy, output<S, 3> dx) {
  if (!own.share)
    return for_each_text(p, x, [&](const text_rows& text) {
      norm_backward(p, own.norm, part_of(acts.norm, text), text.of(x), level.dilation, text.of(dy), text.of(dx));
    });
  const auto normed = p.scratch[acts.normed], dnormed = normed;
  for_each_text(p, x, [&](const text_rows& text) {
    add_previous_backward(p.backend, text.of(normed), p.weights[own.share], level.dilation, text.of(dy),
                          text.of(dnormed), p.gradients[own.share]);
  });
  norm_backward(p, own.norm, acts.norm, x, 0, dnormed, dx);
}

/// One new position of each of B texts: x, y [B,1,d]. `previous` [B,d] holds what the position before it in its
/// interleaved sequence left, and receives what this one leaves. `shifted` [B,1,d] is scratch memory.
template <class Backend, class S = typename Backend::scalar>
void token_shift_step(const pass<Backend>& p, const token_shift_parameters& own, const token_shift_activations& acts,
                      output<S, 2> previous, output<S, 3> shifted, input<S, 3> x, output<S, 3> y) {
  if (own.share) {
    norm_forward(p, own.norm, acts.norm, x, 0, shifted);
    return add_previous_step(p.backend, shifted.rows(), p.weights[own.share], previous, y.rows());
  }
  shift_step(p.backend, x.rows(), previous, shifted.rows());
  norm_forward(p, own.norm, acts.norm, shifted, 0, y);
}

/// Turns the last position of a sequence, in `previous` [B,1,d], into what later steps need. `shifted` is as in
/// `token_shift_step`.
template <class Backend, class S = typename Backend::scalar>
void token_shift_keep(const pass<Backend>& p, const token_shift_parameters& own, const token_shift_activations& acts,
                      output<S, 3> shifted, output<S, 3> previous) {
  if (!own.share) return;
  norm_forward(p, own.norm, acts.norm, previous, 0, shifted);
  copy(p.backend, shifted.flat(), previous.flat());
}

}  // namespace strata
