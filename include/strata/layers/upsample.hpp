// Adds a coarse stream of an hourglass to the next finer stream; "tokens" are here the finer positions. Of a ragged level,
// each token gets a linear map of the newest coarse position. Linear: a linear map of each coarse position is cut into s
// pieces, one for each token from the position's own token on. Attention: each token attends to the last coarse
// positions at or before it.
// Shapes: fine [B,T,d], coarse [B,n,d_c] -> [B,T,d].
// Source: Nawrot et al., "Hierarchical transformers are more efficient language models", arXiv 2110.13711.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/attention_resampling.hpp>
#include <strata/layers/linear_map.hpp>

namespace strata::inline STRATA_ABI {

struct upsample_parameters {
  linear_map map;  // [d s, d_c]
  attention_resampling_parameters attention;
};
/// Pieces into which the linear map of a coarse position is cut.
constexpr int upsample_pieces(const level_facts& level) { return level.ragged ? 1 : level.source_stride; }

struct upsample_activations {
  tensor<3> coarse;  // [B,n,d_c]
  tensor<3> x, y;    // [B,T,d], the fine stream before and after
  tensor<3> spread;  // scratch [B,n,d s], in backward its gradient
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
  else
    own.map =
        declare_linear_map(table, prefix, dim * upsample_pieces(level), level.dim, linear_initialisation(level.dim));
  return own;
}

constexpr upsample_activations plan_upsample(activation_plan& plan, const level_facts& level, const tensor<3>& coarse,
                                             const tensor<3>& x, const tensor<3>& y) {
  const auto [batch, tokens, dim] = x.shape;
  upsample_activations own{coarse, x, y, {}, {}};
  memory_plan scratch;
  if (level.upsamples_by_attention())
    own.attention = plan_attention_resampling(plan, plan.memory, scratch, shape_of_upsample(level, batch, tokens));
  else
    own.spread = scratch.add<3>({batch, coarse.shape[1], dim * upsample_pieces(level)});
  plan.scratch_used(scratch);
  return own;
}

/// What incremental generation keeps: [B,1,d s], the pieces of the newest coarse position, or [B,span,2 H E], keys and
/// values of the last coarse positions.
constexpr std::array<index_type, 3> upsample_kept_shape(const level_facts& level, index_type batch, index_type dim) {
  if (level.upsamples_by_attention()) return {batch, level.upsample_span, 2 * index_type{level.attention_dim()}};
  return {batch, 1, dim * upsample_pieces(level)};
}

/// FLOPs for one text of `tokens` tokens, and on average for one generated token.
constexpr double upsample_flops(const level_facts& level, index_type dim, index_type tokens) {
  const cross_attention_shape shape = shape_of_upsample(level, 1, tokens);
  const double positions = static_cast<double>(level.positions_of_source(tokens));
  if (!level.upsamples_by_attention())
    return 2 * positions * static_cast<double>(level.dim * dim * upsample_pieces(level));
  const resampled_widths widths = widths_of_upsample(level, dim);
  return static_cast<double>(tokens) * attention_resampling_query_flops(shape, widths) +
         positions * attention_resampling_source_flops(shape, widths) + shape.flops();
}
constexpr double upsample_step_flops(const level_facts& level, index_type dim) {
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
