// Compresses token embeddings, or in an hourglass the next finer stream, to one level: unchanged, by a linear map, by
// attention over the last tokens, or by a causal convolution with SiLU and a pointwise linear map.
// Shapes: tokens [B,T,D] -> [B,n,d], n = ceil(T / s).
// Source: docs/model.md.
#pragma once

#include <strata/config/facts.hpp>
#include <strata/layers/attention_pooling.hpp>

namespace strata::inline STRATA_ABI {

struct compress_parameters {
  tensor<2> projection;        // [d,D c] for linear compression; [d,D] for c = 1 and d != D, and for ragged levels
  tensor<2> convolution;       // [4D, D c]
  tensor<1> convolution_bias;  // [4D]
  tensor<2> pointwise;         // [d,4D]
  tensor<1> pointwise_bias;    // [d]
  tensor<1> padding;           // [d - D], of levels that pad
  attention_resampling_parameters pooling;
};
struct compress_activations {
  tensor<3> y;          // [B,n,d]; the token embeddings themselves if c = 1, d = D and no n-grams are added
  tensor<2> hidden;     // [B n, 4D]
  tensor<3> patches;    // scratch [B,n,D c], of nested ragged levels [B,n,D]; in backward also its gradient
  tensor<3> every;      // scratch [B,T,D c], of ragged levels side by side: the patches of every token
  tensor<2> activated;  // scratch, as hidden, in backward the gradient of hidden
  attention_pooling_activations pooling;
};

template <class Table>
constexpr compress_parameters declare_compress(Table& table, const level_facts& level, int number, index_type dim) {
  using name = typename Table::name;
  const name prefix = name("compressors.") + number + ".compress_fn";
  const index_type inner = 4 * dim, c = level.shortens;
  compress_parameters own;
  if (level.pads) {
    if (level.dim > dim)
      own.padding = table.template add<1>(prefix + ".padding", {level.dim - dim}, linear_initialisation(dim));
    return own;
  }
  if (level.ragged && level.from >= 0) {
    own.projection = table.template add<2>(prefix + ".weight", {level.dim, dim}, linear_initialisation(dim));
    return own;
  }
  if (!level.compressed() || level.linear_compression) {
    if (level.compressed() || level.dim != dim)
      own.projection = table.template add<2>(prefix + ".weight", {level.dim, dim * c}, linear_initialisation(dim * c));
    return own;
  }
  if (level.pools) {
    own.pooling = declare_attention_pooling(table, prefix, level, dim);
    return own;
  }
  own.convolution =
      table.add(prefix + ".1.conv.weight", {inner, dim * c}, {inner, dim, c}, linear_initialisation(dim * c));
  own.convolution_bias = table.template add<1>(prefix + ".1.conv.bias", {inner}, linear_initialisation(dim * c));
  own.pointwise =
      table.add(prefix + ".3.weight", {level.dim, inner}, {level.dim, inner, 1}, linear_initialisation(inner));
  own.pointwise_bias = table.template add<1>(prefix + ".3.bias", {level.dim}, linear_initialisation(inner));
  return own;
}

constexpr compress_activations plan_compress(activation_plan& plan, const level_facts& level, index_type batch,
                                             index_type positions, const tensor<3>& tokens) {
  const index_type dim = tokens.shape[2];
  compress_activations own;
  if (!level.compressed() && level.dim == dim && !level.has_ngrams) {
    own.y = tokens;
    return own;
  }
  own.y = plan.memory.add<3>({batch, positions, level.dim});
  if (!level.compressed()) return own;
  if (level.pools) {
    own.pooling = plan_attention_pooling(plan, level, tokens);
    return own;
  }
  memory_plan scratch;
  const bool gathers = level.ragged && level.from >= 0;
  own.patches = scratch.add<3>({batch, positions, gathers ? dim : dim * level.shortens});
  if (level.ragged && !gathers) own.every = scratch.add<3>({tokens.shape[0], tokens.shape[1], dim * level.shortens});
  if (!level.linear_compression) {
    own.hidden = plan.memory.add<2>({batch * positions, 4 * dim});
    own.activated = scratch.add<2>(own.hidden.shape);
  }
  plan.scratch_used(scratch);
  return own;
}

/// Input of the first map: the tokens, or the c tokens of each position side by side. Of level `l`, if it is ragged, the
/// tokens at which its positions begin, or the c tokens that end there. A pass without cuts is of one position.
template <class Backend, class S = typename Backend::scalar>
view<const S, 2> compress_input(const pass<Backend>& p, const level_facts& level, const compress_activations& acts,
                                input<S, 3> tokens, index_type first, int l) {
  if (!level.compressed()) return tokens.rows();
  const auto patches = p.scratch[acts.patches];
  if (level.ragged && level.from < 0 && !p.cuts.empty()) {
    const auto every = p.scratch[acts.every];
    unfold(p.backend, tokens, level.shortens, 1, index_type{0}, every);
    embed(p.backend, p.cuts[static_cast<std::size_t>(l)].starts, every.rows(), patches.rows(), update::replace);
    return patches.rows();
  }
  if (level.ragged && level.from >= 0) {
    embed(p.backend, p.cuts[static_cast<std::size_t>(l)].starts, tokens.rows(), patches.rows(), update::replace);
    return patches.rows();
  }
  unfold(p.backend, tokens, level.shortens, level.source_stride, first, patches);
  return patches.rows();
}

/// y[1,R,d] = rows of x[R,D] and the learned vector.
template <class Backend, class S = typename Backend::scalar>
void pad(const pass<Backend>& p, const compress_parameters& own, input<S, 2> x, output<S, 3> y) {
  repeat(p.backend, x.template reshape<3>({1, x.shape[0], x.shape[1]}), 1, 0, y);
  if (own.padding)
    repeat(p.backend, p.weights[own.padding].template reshape<3>({1, 1, own.padding.shape[0]}),
           static_cast<int>(x.shape[0]), x.shape[1], y);
}

/// `first` is the token at which level position 0 ends: 0, or the newest token if a convolution computes one position.
template <class Backend, class S = typename Backend::scalar>
void compress_forward(const pass<Backend>& p, const level_facts& level, const compress_parameters& own,
                      const compress_activations& acts, input<S, 3> tokens, int l, index_type first = 0) {
  if (level.pools) return attention_pooling_forward(p, level, own.pooling, acts.pooling, tokens, p.memory[acts.y]);
  if (!level.compressed() && !own.projection) {
    if (level.has_ngrams) copy(p.backend, tokens.flat(), p.memory[acts.y].flat());
    return;
  }
  const auto x = compress_input(p, level, acts, tokens, first, l);
  if (level.pads) return pad(p, own, x, p.memory[acts.y]);
  if (own.projection) return linear(p, x, own.projection, {}, p.memory[acts.y].rows(), update::replace);
  const auto activated = p.scratch[acts.activated];
  linear(p, x, own.convolution, own.convolution_bias, p.memory[acts.hidden], update::replace);
  silu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  linear(p, activated, own.pointwise, own.pointwise_bias, p.memory[acts.y].rows(), update::replace);
}

/// Adds to `dtokens`.
template <class Backend, class S = typename Backend::scalar>
void compress_backward(const pass<Backend>& p, const level_facts& level, const compress_parameters& own,
                       const compress_activations& acts, input<S, 3> tokens, input<S, 3> dy, output<S, 3> dtokens,
                       int l) {
  if (!level.compressed()) {
    if (!own.projection) return add(p.backend, dy.flat(), dtokens.flat());
    linear_backward_weight(p.backend, dy.rows(), tokens.rows(), p.gradients[own.projection], {});
    linear_backward_input(p.backend, dy.rows(), p.weights[own.projection], dtokens.rows(), update::add);
    return;
  }
  if (level.pools) return attention_pooling_backward(p, level, own.pooling, acts.pooling, tokens, dy, dtokens);
  const auto dpatches = p.scratch[acts.patches];
  if (level.pads) {
    const index_type rows = dy.shape[1], width = tokens.shape[2];
    fill(p.backend, S{0}, dpatches.flat());
    repeat_backward(p.backend, dy, 1, 0, dpatches);
    if (own.padding)
      repeat_backward(p.backend, dy, static_cast<int>(rows), width,
                      p.gradients[own.padding].template reshape<3>({1, 1, own.padding.shape[0]}));
    return embed_backward(p.backend, p.cuts[static_cast<std::size_t>(l)].starts, dpatches.rows(), dtokens.rows());
  }
  if (own.projection) {
    const auto x = compress_input(p, level, acts, tokens, index_type{0}, l);
    linear_backward_weight(p.backend, dy.rows(), x, p.gradients[own.projection], {});
    linear_backward_input(p.backend, dy.rows(), p.weights[own.projection], dpatches.rows(), update::replace);
    if (level.ragged)
      return embed_backward(p.backend, p.cuts[static_cast<std::size_t>(l)].starts, dpatches.rows(), dtokens.rows());
    unfold_backward(p.backend, dpatches, level.shortens, level.source_stride, index_type{0}, dtokens);
    return;
  }
  const auto activated = p.scratch[acts.activated], dhidden = activated;
  silu(p.backend, p.memory[acts.hidden].flat(), activated.flat());
  linear_backward_weight(p.backend, dy.rows(), activated, p.gradients[own.pointwise], p.gradients[own.pointwise_bias]);
  linear_backward_input(p.backend, dy.rows(), p.weights[own.pointwise], dhidden, update::replace);
  silu_backward(p.backend, p.memory[acts.hidden].flat(), dhidden.flat(), dhidden.flat());
  const auto x = compress_input(p, level, acts, tokens, index_type{0}, l);
  linear_backward_weight(p.backend, dhidden, x, p.gradients[own.convolution], p.gradients[own.convolution_bias]);
  linear_backward_input(p.backend, dhidden, p.weights[own.convolution], dpatches.rows(), update::replace);
  if (level.ragged) {
    const auto devery = p.scratch[acts.every];
    fill(p.backend, S{0}, devery.flat());
    embed_backward(p.backend, p.cuts[static_cast<std::size_t>(l)].starts, dpatches.rows(), devery.rows());
    return unfold_backward(p.backend, devery, level.shortens, 1, index_type{0}, dtokens);
  }
  unfold_backward(p.backend, dpatches, level.shortens, level.source_stride, index_type{0}, dtokens);
}

}  // namespace strata
