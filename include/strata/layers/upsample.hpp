// Adds a coarse stream of an hourglass to the next finer stream; "tokens" are here the finer positions. Linear: a linear map
// of each coarse position is cut into s pieces, one for each token from the position's own token on. Attention: each token
// attends to the last coarse positions at or before it. Of a level whose boundaries follow the text, a token gets a linear
// map of the newest coarse position; with `by_offset` the map depends on the tokens since that position began, and with
// `at_boundaries` only the first token gets it.
// Shapes: fine [B,T,d], coarse [B,n,d_c] -> [B,T,d]; streams of texts one after another are [1,R,d].
// Source: Nawrot et al., "Hierarchical transformers are more efficient language models", arXiv 2110.13711; AU-Net, arXiv
// 2506.14761 (by_offset); SpaceByte, arXiv 2404.14408 (at_boundaries).
#pragma once

#include <algorithm>
#include <array>

#include <strata/config/facts.hpp>
#include <strata/layers/attention_resampling.hpp>
#include <strata/layers/linear_map.hpp>

namespace strata::inline STRATA_ABI {

struct upsample_parameters {
  linear_map map;                                     // [d s, d_c]
  std::array<tensor<2>, upsample_offsets> by_offset;  // [d, d_c] each
  attention_resampling_parameters attention;
};
/// Pieces into which the linear map of a coarse position is cut.
constexpr int upsample_pieces(const level_facts& level) { return level.ragged ? 1 : level.source_stride; }

struct upsample_activations {
  tensor<3> coarse;  // [B,n,d_c]
  tensor<3> x, y;    // [B,T,d], the fine stream before and after
  tensor<3> spread;  // scratch [B,n,d s], in backward its gradient
  tensor<2> newest;  // scratch [R',d_c], with by_offset: what each token sees, in the order of offsets
  tensor<2> mapped;  // scratch [R',d], the same through its map
  attention_resampling_activations attention;
};

/// `level` is the coarse level, here and below.
constexpr cross_attention_shape shape_of_upsample(const level_facts& level, index_type batch, index_type tokens) {
  return {batch,
          tokens,
          1,
          level.positions_of_source(tokens),
          level.source_stride,
          level.heads,
          level.head_dim,
          level.upsample_span};
}
constexpr resampled_widths widths_of_upsample(const level_facts& level, index_type dim) {
  return {.query = dim, .source = level.dim, .out = dim};
}

template <class Table, class Name>
constexpr upsample_parameters declare_upsample(Table& table, const Name& prefix, const level_facts& level,
                                               index_type dim) {
  upsample_parameters own;
  if (level.upsamples_by_attention())
    own.attention =
        declare_attention_resampling(table, prefix, shape_of_upsample(level, 1, 1), widths_of_upsample(level, dim));
  else if (level.upsampling == upsampling_kind::by_offset)
    for (int k = 0; k < upsample_offsets; ++k)
      own.by_offset[k] =
          table.template add<2>(prefix + "." + k + ".weight", {dim, level.dim}, linear_initialisation(level.dim));
  else
    own.map =
        declare_linear_map(table, prefix, dim * upsample_pieces(level), level.dim, linear_initialisation(level.dim));
  return own;
}

constexpr upsample_activations plan_upsample(activation_plan& plan, const level_facts& level, const tensor<3>& coarse,
                                             const tensor<3>& x, const tensor<3>& y) {
  const auto [batch, tokens, dim] = x.shape;
  upsample_activations own;
  own.coarse = coarse;
  own.x = x;
  own.y = y;
  memory_plan scratch;
  if (level.upsamples_by_attention())
    own.attention = plan_attention_resampling(plan, plan.memory, scratch, shape_of_upsample(level, batch, tokens));
  else if (level.upsampling == upsampling_kind::by_offset) {
    own.newest = scratch.add<2>({batch * tokens, level.dim});
    own.mapped = scratch.add<2>({batch * tokens, dim});
  } else
    own.spread = scratch.add<3>({coarse.shape[0], coarse.shape[1], dim * upsample_pieces(level)});
  plan.scratch_used(scratch);
  return own;
}

/// What incremental generation keeps: [B,1,d s], the pieces of the newest coarse position, [B,1,d_c], that position itself
/// with `by_offset`, or [B,span,2 H E], keys and values of the last coarse positions.
constexpr std::array<index_type, 3> upsample_kept_shape(const level_facts& level, index_type batch, index_type dim) {
  if (level.upsamples_by_attention()) return {batch, level.upsample_span, 2 * index_type{level.attention_dim()}};
  if (level.upsampling == upsampling_kind::by_offset) return {batch, 1, level.dim};
  return {batch, 1, dim * upsample_pieces(level)};
}

/// FLOPs for one text of `tokens` tokens and `own_positions` coarse positions, and on average for one generated token.
constexpr double upsample_flops(const level_facts& level, index_type dim, index_type tokens, index_type own_positions) {
  const cross_attention_shape shape = shape_of_upsample(level, 1, tokens);
  if (level.ragged) {
    const double maps = static_cast<double>(level.upsampling == upsampling_kind::by_offset ? tokens : own_positions);
    return 2 * maps * static_cast<double>(level.dim * dim);
  }
  const double positions = static_cast<double>(own_positions);
  if (!level.upsamples_by_attention())
    return 2 * positions * static_cast<double>(level.dim * dim * upsample_pieces(level));
  const resampled_widths widths = widths_of_upsample(level, dim);
  return static_cast<double>(tokens) * attention_resampling_query_flops(shape, widths) +
         positions * attention_resampling_source_flops(shape, widths) + shape.flops();
}
constexpr double upsample_step_flops(const level_facts& level, index_type dim) {
  if (level.ragged && level.upsampling != upsampling_kind::by_offset)
    return 2 * static_cast<double>(level.dim * dim) / level.source_stride;
  if (!level.upsamples_by_attention()) return 2 * static_cast<double>(level.dim * dim);
  const cross_attention_shape shape = shape_of_upsample(level, 1, 1);
  const resampled_widths widths = widths_of_upsample(level, dim);
  return attention_resampling_query_flops(shape, widths) +
         attention_resampling_source_flops(shape, widths) / level.source_stride +
         4 * static_cast<double>(shape.dim() * shape.span);
}

template <class Backend, class S = typename Backend::scalar>
void upsample_spread(const pass<Backend>& p, const linear_map& own, input<S, 3> coarse, output<S, 3> spread) {
  linear_map_forward(p, own, coarse.rows(), spread.rows(), update::replace);
}

/// Calls work(k, first, count) for each offset k whose tokens are `count` rows from `first` on, in the order of offsets.
template <class Work>
void for_each_offset(const level_cut& cut, Work work) {
  for (std::size_t k = 0; k + 1 < cut.offsets.size(); ++k)
    if (const index_type count = cut.offsets[k + 1] - cut.offsets[k]; count > 0) work(k, cut.offsets[k], count);
}

/// y += the map of each token's offset, of the position that it sees.
template <class Backend, class S = typename Backend::scalar>
void upsample_by_offset(const pass<Backend>& p, const level_cut& cut, const upsample_parameters& own,
                        const upsample_activations& acts, input<S, 2> coarse, output<S, 2> y) {
  const auto newest = p.scratch[acts.newest], mapped = p.scratch[acts.mapped];
  embed(p.backend, cut.newest_in_order, coarse, newest, update::replace);
  for_each_offset(cut, [&](std::size_t k, index_type first, index_type count) {
    linear(p, newest.slice(first, count), own.by_offset[k], {}, mapped.slice(first, count), update::replace);
  });
  embed(p.backend, cut.place, mapped, y, update::add);
}
/// Adds to `dcoarse`.
template <class Backend, class S = typename Backend::scalar>
void upsample_by_offset_backward(const pass<Backend>& p, const level_cut& cut, const upsample_parameters& own,
                                 const upsample_activations& acts, input<S, 2> coarse, input<S, 2> dy,
                                 output<S, 2> dcoarse) {
  const auto newest = p.scratch[acts.newest], dnewest = newest, dmapped = p.scratch[acts.mapped];
  embed(p.backend, cut.newest_in_order, coarse, newest, update::replace);
  embed(p.backend, cut.order, dy, dmapped, update::replace);
  for_each_offset(cut, [&](std::size_t k, index_type first, index_type count) {
    const auto part = [&](const view<S, 2>& all) { return all.slice(first, count); };
    linear_backward_weight(p.backend, part(dmapped), part(newest), p.gradients[own.by_offset[k]], {});
    linear_backward_input(p.backend, part(dmapped), p.weights[own.by_offset[k]], part(dnewest), update::replace);
  });
  embed_backward(p.backend, cut.newest_in_order, dnewest, dcoarse);
}

/// y += the pieces. The transpose of unfold puts piece k of position i at token i s + k - passed; `passed` tokens of
/// the first position come before y.
template <class Backend, class S = typename Backend::scalar>
void upsample_add(const pass<Backend>& p, int stride, input<S, 3> spread, index_type passed, output<S, 3> y) {
  unfold_backward(p.backend, spread, stride, stride, stride - 1 - passed, y);
}

/// Without `add`, y is x.
template <class Backend>
void upsample_forward(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                      const upsample_activations& acts, bool add, int l) {
  const auto x = p.memory[acts.x], y = p.memory[acts.y];
  copy(p.backend, x.flat(), y.flat());
  if (!add) return;
  const auto coarse = p.memory[acts.coarse];
  if (level.upsamples_by_attention())
    return attention_resampling_forward(p, shape_of_upsample(level, x.shape[0], x.shape[1]), own.attention,
                                        acts.attention, x.rows(), coarse.rows(), y.rows(), update::add);
  if (level.upsampling == upsampling_kind::by_offset)
    return upsample_by_offset(p, p.cuts[static_cast<std::size_t>(l)], own, acts, coarse.rows(), y.rows());
  const auto spread = p.scratch[acts.spread];
  upsample_spread(p, own.map, coarse, spread);
  if (level.ragged)
    return embed(p.backend, p.cuts[static_cast<std::size_t>(l)].newest, spread.rows(), y.rows(), update::add);
  upsample_add(p, level.source_stride, spread, 0, y);
}

/// Token number `position` of each of B texts. `kept` has the shape `upsample_kept_shape`; a new coarse position, if
/// any, enters it.
template <class Backend, class S = typename Backend::scalar>
void upsample_step(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                   const upsample_activations& acts, bool add, index_type position, output<S, 3> kept) {
  const auto x = p.memory[acts.x], coarse = p.memory[acts.coarse], y = p.memory[acts.y];
  const bool newest = position % level.source_stride == 0;
  copy(p.backend, x.flat(), y.flat());
  if (!add) return;
  if (level.upsamples_by_attention()) {
    if (newest)
      attention_resampling_keep(p, own.attention, acts.attention, position / level.source_stride, coarse.rows(), kept);
    attention_resampling_step(p, shape_of_upsample(level, x.shape[0], 1), own.attention, acts.attention,
                              position / level.source_stride + 1, x.rows(), kept, y.rows(), update::add);
    return;
  }
  if (newest) upsample_spread(p, own.map, coarse, kept);
  upsample_add(p, level.source_stride, kept, position % level.source_stride, y);
}

/// Keeps what later steps need from a pass from the start of the texts. `newest` [B,1,d_c] is its last coarse position.
template <class Backend, class S = typename Backend::scalar>
void upsample_keep(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                   const upsample_activations& acts, input<S, 3> newest, output<S, 3> kept) {
  if (level.upsamples_by_attention()) return attention_resampling_keep_last(p, acts.attention, kept);
  upsample_spread(p, own.map, newest, kept);
}

/// Keeps the newest position [1,1,d_c] of a text, at a level whose boundaries follow the text.
template <class Backend, class S = typename Backend::scalar>
void upsample_keep_newest(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                          input<S, 3> newest, output<S, 3> kept) {
  if (level.upsampling == upsampling_kind::by_offset) return copy(p.backend, newest.flat(), kept.flat());
  upsample_spread(p, own.map, newest, kept);
}
/// y[1,d] += what the kept position adds to the token that is `since` tokens after its first one.
template <class Backend, class S = typename Backend::scalar>
void upsample_add_newest(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                         index_type since, input<S, 3> kept, output<S, 2> y) {
  if (level.upsampling == upsampling_kind::at_boundaries && since > 0) return;
  if (level.upsampling != upsampling_kind::by_offset) return add(p.backend, kept.flat(), y.flat());
  const auto k = static_cast<std::size_t>(std::min<index_type>(since, upsample_offsets - 1));
  linear(p, kept.rows(), own.by_offset[k], {}, y, update::add);
}

/// On entry `dx` is the gradient of y, on return the gradient of x. Adds to `dcoarse`.
template <class Backend, class S = typename Backend::scalar>
void upsample_backward(const pass<Backend>& p, const level_facts& level, const upsample_parameters& own,
                       const upsample_activations& acts, output<S, 3> dx, output<S, 3> dcoarse, int l) {
  const auto coarse = p.memory[acts.coarse].rows();
  if (level.upsamples_by_attention()) {
    attention_resampling_backward(p, shape_of_upsample(level, dx.shape[0], dx.shape[1]), own.attention, acts.attention,
                                  coarse, dx.rows(), dcoarse.rows());
    return attention_resampling_backward_queries(p, own.attention, acts.attention, p.memory[acts.x].rows(), dx.rows(),
                                                 update::add);
  }
  if (level.upsampling == upsampling_kind::by_offset)
    return upsample_by_offset_backward(p, p.cuts[static_cast<std::size_t>(l)], own, acts, coarse, dx.rows(),
                                       dcoarse.rows());
  const auto dspread = p.scratch[acts.spread];
  if (level.ragged) {
    fill(p.backend, S{0}, dspread.flat());
    embed_backward(p.backend, p.cuts[static_cast<std::size_t>(l)].newest, dx.rows(), dspread.rows());
  } else {
    unfold(p.backend, dx, level.source_stride, level.source_stride, index_type{level.source_stride} - 1, dspread);
  }
  linear_map_backward(p, own.map, coarse, dspread.rows(), dcoarse.rows(), update::add);
}

}  // namespace strata
