// Boundaries that the model learns. A position begins where the query of a row of the finer level differs from the key of
// the row before it. The way up smooths positions by how sure their boundaries are, so boundaries have a gradient.
// Shapes: finer rows x [B,n',d]; positions of all texts [1,R,d_c]; probabilities p [B,n'].
// Source: H-Net, arXiv 2507.07955, sections 2.2 and 2.3.
#pragma once

#include <strata/layers/upsample.hpp>

namespace strata::inline STRATA_ABI {

struct boundary_parameters {
  tensor<2> query, key;  // [d,d]
  tensor<2> residual;    // [d,d], of the finer rows on the way up
};
struct boundary_activations {
  tensor<3> query, key;       // [B,n',d]
  tensor<3> p, dp;            // [B,n',1]
  tensor<3> dquery, dkey;     // scratch [B,n',d]
  tensor<3> share;            // [1,R,1], p where positions begin
  tensor<3> smoothed;         // [1,R,d_c]
  tensor<3> dshare;           // scratch [1,R,1]
  tensor<3> dsmoothed;        // scratch [1,R,d_c]
  tensor<3> spread, dspread;  // scratch [1,R,d], mapped to the finer width
  tensor<3> seen;             // scratch [B,n',d], what each finer row sees
};

template <class Table>
constexpr boundary_parameters declare_boundaries(Table& table, int number, index_type dim) {
  using name = typename Table::name;
  const name prefix = name("boundaries.") + number;
  const initialisation unit{initialisation::kind::identity, 1};
  boundary_parameters own;
  own.query = table.template add<2>(prefix + ".query.weight", {dim, dim}, unit);
  own.key = table.template add<2>(prefix + ".key.weight", {dim, dim}, unit);
  own.residual = table.template add<2>(prefix + ".residual.weight", {dim, dim}, zeros);
  return own;
}

/// What is known before the boundaries are: of the finer rows x.
constexpr boundary_activations plan_boundaries(activation_plan& plan, const tensor<3>& x) {
  boundary_activations own;
  own.query = plan.memory.add<3>(x.shape);
  own.key = plan.memory.add<3>(x.shape);
  own.p = plan.memory.add<3>({x.shape[0], x.shape[1], 1});
  memory_plan scratch;
  if (plan.training) {
    own.dp = plan.memory.add<3>(own.p.shape);
    own.dquery = scratch.add<3>(x.shape);
    own.dkey = scratch.add<3>(x.shape);
  }
  plan.scratch_used(scratch);
  return own;
}
/// What depends on the boundaries.
constexpr void plan_smoothing(activation_plan& plan, const tensor<3>& x, const std::array<index_type, 3>& coarse,
                              boundary_activations& own) {
  const std::array<index_type, 3> spread{coarse[0], coarse[1], x.shape[2]};
  own.share = plan.memory.add<3>({coarse[0], coarse[1], 1});
  own.smoothed = plan.memory.add<3>(coarse);
  memory_plan scratch;
  own.spread = scratch.add<3>(spread);
  if (plan.training) {
    own.dshare = scratch.add<3>(own.share.shape);
    own.dsmoothed = scratch.add<3>(coarse);
    own.dspread = scratch.add<3>(spread);
    own.seen = scratch.add<3>(x.shape);
  }
  plan.scratch_used(scratch);
}

/// FLOPs of a row of the finer level: queries, keys and the residual.
constexpr double boundary_flops(index_type dim) { return 6 * static_cast<double>(dim * dim); }

/// p of one text, or of all texts of one length: [B,n].
template <class S>
constexpr view<S, 2> probabilities_of(const text_rows& text, const view<S, 3>& p) {
  return text.of(p).template reshape<2>({text.texts, text.positions});
}

/// The probabilities of boundaries at the rows x of level `from`.
template <class Backend, class S = typename Backend::scalar>
void boundaries_forward(const pass<Backend>& p, int from, const boundary_parameters& own,
                        const boundary_activations& acts, input<S, 3> x) {
  const auto query = p.memory[acts.query], key = p.memory[acts.key];
  linear(p, x.rows(), own.query, {}, query.rows(), update::replace);
  linear(p, x.rows(), own.key, {}, key.rows(), update::replace);
  for_each_text(p.at_level(from), x, [&](const text_rows& text) {
    boundary_probability(p.backend, text.of(query), text.of(key), probabilities_of(text, p.memory[acts.p]));
  });
}
/// Adds to `dx`.
template <class Backend, class S = typename Backend::scalar>
void boundaries_backward(const pass<Backend>& p, int from, const boundary_parameters& own,
                         const boundary_activations& acts, input<S, 3> x, output<S, 3> dx) {
  const auto query = p.memory[acts.query], key = p.memory[acts.key];
  const auto dquery = p.scratch[acts.dquery], dkey = p.scratch[acts.dkey];
  for_each_text(p.at_level(from), x, [&](const text_rows& text) {
    boundary_probability_backward(p.backend, text.of(query), text.of(key), probabilities_of(text, p.memory[acts.dp]),
                                  text.of(dquery), text.of(dkey));
  });
  linear_backward_weight(p.backend, dquery.rows(), x.rows(), p.gradients[own.query], {});
  linear_backward_weight(p.backend, dkey.rows(), x.rows(), p.gradients[own.key], {});
  linear_backward_input(p.backend, dquery.rows(), p.weights[own.query], dx.rows(), update::add);
  linear_backward_input(p.backend, dkey.rows(), p.weights[own.key], dx.rows(), update::add);
}

/// y = the residual of x. Adds the smoothed coarse positions if `add`.
template <class Backend>
void smoothed_upsample_forward(const pass<Backend>& p, int l, const upsample_parameters& up,
                               const upsample_activations& up_acts, const boundary_parameters& own,
                               const boundary_activations& acts, bool add) {
  const level_cut& cut = p.cuts[static_cast<std::size_t>(l)];
  const auto y = p.memory[up_acts.y].rows();
  linear(p, p.memory[up_acts.x].rows(), own.residual, {}, y, update::replace);
  if (!add) return;
  const auto coarse = p.memory[up_acts.coarse], smoothed = p.memory[acts.smoothed], share = p.memory[acts.share];
  embed(p.backend, cut.starts, p.memory[acts.p].rows(), share.rows(), update::replace);
  for_each_text(p.at_level(l), coarse, [&](const text_rows& text) {
    smooth(p.backend, probabilities_of(text, share), text.of(coarse), text.of(smoothed));
  });
  const auto spread = p.scratch[acts.spread];
  linear_map_forward(p, up.map, smoothed.rows(), spread.rows(), update::replace);
  embed(p.backend, cut.newest, spread.rows(), y, update::add);
}

/// On entry `dx` is the gradient of y, on return the gradient of x. Adds to `dcoarse`, and to the gradient of p. Without
/// `add` only the residual has a gradient.
template <class Backend, class S = typename Backend::scalar>
void smoothed_upsample_backward(const pass<Backend>& p, int l, const upsample_parameters& up,
                                const upsample_activations& up_acts, const boundary_parameters& own,
                                const boundary_activations& acts, bool add_coarse, output<S, 3> dx,
                                output<S, 3> dcoarse) {
  const level_cut& cut = p.cuts[static_cast<std::size_t>(l)];
  const auto seen = p.scratch[acts.seen].rows();
  if (add_coarse) {
    const auto coarse = p.memory[up_acts.coarse], smoothed = p.memory[acts.smoothed], share = p.memory[acts.share];
    const auto dp = p.memory[acts.dp], spread = p.scratch[acts.spread], dspread = p.scratch[acts.dspread];
    const auto dsmoothed = p.scratch[acts.dsmoothed], dshare = p.scratch[acts.dshare];
    linear_map_forward(p, up.map, smoothed.rows(), spread.rows(), update::replace);
    embed(p.backend, cut.newest, spread.rows(), seen, update::replace);
    confidence_backward(p.backend, p.memory[acts.p].flat(), seen, dx.rows(), dp.flat());
    fill(p.backend, S{0}, dspread.flat());
    embed_backward(p.backend, cut.newest, dx.rows(), dspread.rows());
    linear_map_backward(p, up.map, smoothed.rows(), dspread.rows(), dsmoothed.rows(), update::replace);
    for_each_text(p.at_level(l), coarse, [&](const text_rows& text) {
      smooth_backward(p.backend, probabilities_of(text, share), text.of(coarse), text.of(smoothed), text.of(dsmoothed),
                      text.of(dsmoothed), probabilities_of(text, dshare));
    });
    add(p.backend, dsmoothed.flat(), dcoarse.flat());
    embed_backward(p.backend, cut.starts, dshare.rows(), dp.rows());
  }
  linear_backward_weight(p.backend, dx.rows(), p.memory[up_acts.x].rows(), p.gradients[own.residual], {});
  linear_backward_input(p.backend, dx.rows(), p.weights[own.residual], seen, update::replace);
  copy(p.backend, seen.flat(), dx.flat());
}

}  // namespace strata
