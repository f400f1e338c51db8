// One block of one level: the attention half, if the level has attention, then the feed-forward half.
// Shapes: x [B,n,d] -> middle [B,n,d] -> y [B,n,d].
// Source: docs/model.md.
#pragma once

#include <strata/layers/attention.hpp>
#include <strata/layers/feed_forward.hpp>

namespace strata::inline STRATA_ABI {

struct block_parameters {
  attention_parameters attention;
  feed_forward_parameters feed_forward;
};
struct block_activations {
  attention_activations attention;
  feed_forward_activations feed_forward;
  tensor<3> x, middle, y;  // [B,n,d]; `middle` is `x` without attention
};

/// `shared` is the attention whose weights level `number` uses: its own or an earlier level's.
template <class Table>
constexpr block_parameters declare_block(Table& table, const level_facts& level, int layer, int number,
                                         const attention_parameters& shared) {
  using name = typename Table::name;
  const name prefix = name("layers.") + layer + "." + number;
  block_parameters own;
  if (level.span > 0) own.attention = declare_attention(table, prefix + ".attn", level, shared);
  own.feed_forward = declare_feed_forward(table, prefix + ".ff", level);
  return own;
}

constexpr block_activations plan_block(activation_plan& plan, const level_facts& level, index_type batch,
                                       index_type positions, const tensor<3>& x, const tensor<3>& y) {
  block_activations own;
  own.x = own.middle = x;
  own.y = y;
  if (level.span > 0) {
    own.attention = plan_attention(plan, level, batch, positions);
    own.middle = plan.memory.add<3>(x.shape);
  }
  own.feed_forward = plan_feed_forward(plan, level, batch, positions);
  return own;
}

template <class Backend, class S = typename Backend::scalar>
void block_forward(const pass<Backend>& p, const level_facts& level, const block_parameters& own,
                   const block_activations& acts, input<S, 3> table) {
  if (level.span > 0)
    attention_forward(p, level, own.attention, acts.attention, table, p.memory[acts.x], p.memory[acts.middle]);
  feed_forward_forward(p, level, own.feed_forward, acts.feed_forward, p.memory[acts.middle], p.memory[acts.y]);
}

/// On entry `dx` is the gradient of y, on return the gradient of x.
template <class Backend, class S = typename Backend::scalar>
void block_backward(const pass<Backend>& p, const level_facts& level, const block_parameters& own,
                    const block_activations& acts, input<S, 3> table, output<S, 3> dx) {
  feed_forward_backward(p, level, own.feed_forward, acts.feed_forward, p.memory[acts.middle], dx);
  if (level.span > 0) attention_backward(p, level, own.attention, acts.attention, table, p.memory[acts.x], dx);
}

}  // namespace strata
