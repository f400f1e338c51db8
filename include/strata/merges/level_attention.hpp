// Attention between levels: a position of a receiving level attends to the last positions of its source levels that end
// at or before it, in one softmax.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <array>
#include <string_view>

#include <strata/layers/norm.hpp>
#include <strata/merges/context.hpp>

namespace strata::inline STRATA_ABI {

/// Which levels a receiving level attends to: all levels, its own included; only more compressed, or only less
/// compressed ones.
enum class level_direction { all, coarser, finer };
constexpr std::array<std::string_view, 3> names_of(level_direction) { return {"all", "coarser", "finer"}; }

struct level_attention {
  int window = 16;  ///< positions of each source level that a position attends to
  int heads = 4;
  int head_dim = 32;
  level_direction direction = level_direction::all;
  model_facts model = {};

  static constexpr std::string_view name = "level_attention";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("window", own.window);
    visit("heads", own.heads);
    visit("head_dim", own.head_dim);
    visit("direction", own.direction);
  }
  struct parameters {
    each_level<norm_parameters> norm;        // of receivers and sources
    each_level<tensor<2>> to_kv;             // [2 H E, d], of sources
    each_level<tensor<2>> to_q, to_out;      // [H E, d], [d, H E], of receivers
    each_level<each_level<tensor<1>>> bias;  // [H window], by receiver and source
  };
  struct activations {
    streams_before_merge before;
    each_level<norm_activations> norm;
    each_level<tensor<2>> kv;            // [B n, 2 H E]
    each_level<tensor<2>> query, mixed;  // [B n, H E]
    each_level<tensor<3>> log_sum_exp;   // [B,H,n]
    each_level<tensor<2>> dkv, dquery;   // scratch, as kv and query
    each_level<tensor<3>> normed;        // scratch [B,n,d], one level after another; in backward also its gradient
    each_level<tensor<2>> dmixed;        // scratch, as mixed, one level after another
  };
  struct cache {
    each_level<tensor<3>> ring;  // [B,window,2 H E]
  };

  template <const auto& Own>
  static constexpr bool check() {
    constexpr bool positive = Own.heads > 0 && Own.head_dim > 0 && Own.window > 0;
    static_assert(positive, "strata: level_attention: heads, head_dim and window must be positive");
    constexpr bool all_see_one = [] {
      const auto& levels = Own.model.levels;
      for (std::size_t r = 0; r < levels.size(); ++r) {
        bool sees_one = !levels[r].receives;
        for (std::size_t l = 0; l < levels.size(); ++l) sees_one = sees_one || Own.attends(r, l);
        if (!sees_one) return false;
      }
      return true;
    }();
    static_assert(all_see_one, "strata: level_attention: a receiving level has no level in the direction chosen");
    return true;
  }

  constexpr index_type dim() const { return index_type{heads} * head_dim; }
  /// Whether level `receiver` attends to level `l`.
  constexpr bool attends(std::size_t receiver, std::size_t l) const {
    if (!model.levels[receiver].receives) return false;
    const int own = model.levels[receiver].compression, other = model.levels[l].compression;
    return direction == level_direction::all || (direction == level_direction::coarser ? other > own : other < own);
  }
  /// Whether any level attends to level `l`.
  constexpr bool attended(std::size_t l) const {
    for (std::size_t r = 0; r < model.levels.size(); ++r)
      if (attends(r, l)) return true;
    return false;
  }

  template <class Table>
  constexpr parameters declare(Table& table, int layer) const {
    using name_type = typename Table::name;
    const name_type prefix = name_type("hierarchical_merges.") + layer;
    const int count = static_cast<int>(model.levels.size());
    parameters own;
    for (int n = 0; n < count; ++n) {
      const auto l = static_cast<std::size_t>(n);
      const index_type width = model.levels[l].dim;
      if (attended(l) || model.levels[l].receives) own.norm[l] = declare_rms_norm(table, prefix + ".norms." + n, width);
      if (attended(l))
        own.to_kv[l] =
            table.add_stacked(prefix + ".to_kv." + n + ".weight", 2, {2 * dim(), width}, linear_initialisation(width));
      if (!model.levels[l].receives) continue;
      own.to_q[l] =
          table.template add<2>(prefix + ".to_q." + n + ".weight", {dim(), width}, linear_initialisation(width));
      own.to_out[l] =
          table.template add<2>(prefix + ".to_out." + n + ".weight", {width, dim()}, linear_initialisation(dim()));
      for (int source = 0; source < count; ++source)
        if (const auto s = static_cast<std::size_t>(source); attends(l, s))
          own.bias[l][s] =
              table.template add<1>(prefix + ".bias." + n + "." + source, {index_type{heads} * window}, zeros);
    }
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    own.before.plan(plan, model.levels, batch, tokens);
    memory_plan scratch;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type positions = model.levels[l].positions(tokens), rows = batch * positions;
      if (attended(l) || model.levels[l].receives) own.norm[l] = plan_norm(plan.memory, rows);
      if (attended(l)) {
        own.kv[l] = plan.memory.add<2>({rows, 2 * dim()});
        if (plan.training) own.dkv[l] = scratch.add<2>(own.kv[l].shape);
      }
      if (!model.levels[l].receives) continue;
      own.query[l] = plan.memory.add<2>({rows, dim()});
      own.mixed[l] = plan.memory.add<2>({rows, dim()});
      own.log_sum_exp[l] = plan.memory.add<3>({batch, heads, positions});
      if (plan.training) own.dquery[l] = scratch.add<2>(own.query[l].shape);
    }
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      memory_plan normed = scratch, dmixed = scratch;
      own.normed[l] = normed.add<3>({batch, model.levels[l].positions(tokens), model.levels[l].dim});
      plan.scratch_used(normed);
      if (!plan.training || !model.levels[l].receives) continue;
      own.dmixed[l] = dmixed.add<2>(own.mixed[l].shape);
      plan.scratch_used(dmixed);
    }
    return own;
  }

  constexpr cache plan_cache(memory_plan& plan, index_type batch) const {
    cache own;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (attended(l)) own.ring[l] = plan.add<3>({batch, window, 2 * dim()});
    return own;
  }

  constexpr double forward_flops(index_type batch, index_type tokens) const {
    double flops = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      const index_type positions = model.levels[l].positions(tokens);
      flops += static_cast<double>(batch * positions) * projection_flops(l);
      for (std::size_t s = 0; s < model.levels.size(); ++s)
        if (attends(l, s)) flops += shape(l, s, batch, positions, model.levels[s].positions(tokens)).flops();
    }
    return flops;
  }
  constexpr double step_flops() const {
    double flops = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      double own = projection_flops(l);
      for (std::size_t s = 0; s < model.levels.size(); ++s)
        if (attends(l, s)) own += 4 * static_cast<double>(dim() * window);
      flops += own / model.levels[l].stride;
    }
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void forward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    recompute(p, own, acts, x);
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.levels[l].receives) linear(p, p.memory[acts.mixed[l]], own.to_out[l], {}, x[l].rows(), update::add);
  }

  template <class Backend, class S = typename Backend::scalar>
  void recompute(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    acts.before.keep(p, x);
    for (std::size_t l = 0; l < model.levels.size(); ++l) project(p, own, acts, l, x[l]);
    for_each_pair([&](std::size_t r, std::size_t s, update mode) {
      cross_attention(p.backend, shape(r, s, x[r], x[s]), p.memory[acts.query[r]], p.memory[acts.kv[s]],
                      by_head(p.weights[own.bias[r][s]]), p.memory[acts.mixed[r]], p.memory[acts.log_sum_exp[r]], mode);
    });
  }

  template <class Backend, class S = typename Backend::scalar>
  void backward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> after,
                level_streams<S> dx) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (attended(l)) fill(p.backend, S{0}, p.scratch[acts.dkv[l]].flat());
    for (std::size_t r = 0; r < model.levels.size(); ++r) {
      if (!model.levels[r].receives) continue;
      const auto dmixed = p.scratch[acts.dmixed[r]], dquery = p.scratch[acts.dquery[r]],
                 mixed = p.memory[acts.mixed[r]];
      linear_backward_weight(p.backend, dx[r].rows(), mixed, p.gradients[own.to_out[r]], {});
      linear_backward_input(p.backend, dx[r].rows(), p.weights[own.to_out[r]], dmixed, update::replace);
      fill(p.backend, S{0}, dquery.flat());
      for (std::size_t s = 0; s < model.levels.size(); ++s)
        if (attends(r, s))
          cross_attention_backward(p.backend, shape(r, s, dx[r], dx[s]), p.memory[acts.query[r]], p.memory[acts.kv[s]],
                                   by_head(p.weights[own.bias[r][s]]), mixed, p.memory[acts.log_sum_exp[r]], dmixed,
                                   dquery, p.scratch[acts.dkv[s]], by_head(p.gradients[own.bias[r][s]]));
    }
    // In a second loop: the first loop reads dx as the gradient after the merge.
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!attended(l) && !model.levels[l].receives) continue;
      const auto x = acts.before.of(p, l, after);
      const auto normed = p.scratch[acts.normed[l]], dnormed = normed;
      norm_forward(p, own.norm[l], acts.norm[l], x, 0, normed);
      if (attended(l))
        linear_backward_weight(p.backend, p.scratch[acts.dkv[l]], normed.rows(), p.gradients[own.to_kv[l]], {});
      if (model.levels[l].receives)
        linear_backward_weight(p.backend, p.scratch[acts.dquery[l]], normed.rows(), p.gradients[own.to_q[l]], {});
      if (attended(l))
        linear_backward_input(p.backend, p.scratch[acts.dkv[l]], p.weights[own.to_kv[l]], dnormed.rows(),
                              update::replace);
      if (model.levels[l].receives)
        linear_backward_input(p.backend, p.scratch[acts.dquery[l]], p.weights[own.to_q[l]], dnormed.rows(),
                              attended(l) ? update::add : update::replace);
      norm_backward(p, own.norm[l], acts.norm[l], x, 0, dnormed, dx[l]);
    }
  }

  template <class Backend, class S = typename Backend::scalar>
  void keep(const pass<Backend>& p, const activations& acts, const cache& kept, const tensor_memory<S>& memory) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!attended(l)) continue;
      const auto kv = p.memory[acts.kv[l]];
      keep_last(p.backend, kv.template reshape<3>({p.batch, kv.shape[0] / p.batch, kv.shape[1]}), 0, 1, 0,
                memory[kept.ring[l]]);
    }
  }

  template <class Backend, class S = typename Backend::scalar>
  void step(const pass<Backend>& p, const parameters& own, const activations& acts, const cache& kept,
            const tensor_memory<S>& memory, index_type position, level_streams<S> current, level_streams<S> x) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (position % model.levels[l].stride != 0) continue;
      project(p, own, acts, l, current[l]);
      if (attended(l))
        keep_row(p.backend, p.memory[acts.kv[l]], position / model.levels[l].stride, memory[kept.ring[l]]);
    }
    for_each_pair([&](std::size_t r, std::size_t s, update mode) {
      if (!model.receives_at(r, position)) return;
      cross_attention_step(p.backend, shape(r, s, x[r], x[s]), position / model.levels[s].stride + 1,
                           p.memory[acts.query[r]], memory[kept.ring[s]], by_head(p.weights[own.bias[r][s]]),
                           p.memory[acts.mixed[r]], p.memory[acts.log_sum_exp[r]], mode);
    });
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.receives_at(l, position))
        linear(p, p.memory[acts.mixed[l]], own.to_out[l], {}, x[l].rows(), update::add);
  }

 private:
  constexpr double projection_flops(std::size_t l) const {
    const double matrix = 2 * static_cast<double>(dim()) * model.levels[l].dim;
    return matrix * ((attended(l) ? 2 : 0) + (model.levels[l].receives ? 2 : 0));
  }
  /// Queries of `receiver` against keys of `source`.
  constexpr cross_attention_shape shape(std::size_t receiver, std::size_t source, index_type batch, index_type queries,
                                        index_type keys) const {
    return {batch, queries, model.levels[receiver].stride, keys, model.levels[source].stride, heads, head_dim, window};
  }
  template <class S>
  cross_attention_shape shape(std::size_t receiver, std::size_t source, const view<S, 3>& queries,
                              const view<S, 3>& keys) const {
    return shape(receiver, source, queries.shape[0], queries.shape[1], keys.shape[1]);
  }
  template <class T>
  view<T, 2> by_head(const view<T, 1>& bias) const {
    return bias.template reshape<2>({heads, window});
  }
  /// Calls body(receiver, source, mode) for every pair. The first source of a receiver replaces, the others add.
  template <class Body>
  void for_each_pair(Body body) const {
    for (std::size_t r = 0; r < model.levels.size(); ++r) {
      update mode = update::replace;
      for (std::size_t s = 0; s < model.levels.size(); ++s) {
        if (!attends(r, s)) continue;
        body(r, s, mode);
        mode = update::add;
      }
    }
  }
  /// Computes the keys, values and queries that level `l` has.
  template <class Backend, class S = typename Backend::scalar>
  void project(const pass<Backend>& p, const parameters& own, const activations& acts, std::size_t l,
               input<S, 3> x) const {
    if (!attended(l) && !model.levels[l].receives) return;
    const auto normed = p.scratch[acts.normed[l]];
    norm_forward(p, own.norm[l], acts.norm[l], x, 0, normed);
    if (attended(l)) linear(p, normed.rows(), own.to_kv[l], {}, p.memory[acts.kv[l]], update::replace);
    if (model.levels[l].receives) linear(p, normed.rows(), own.to_q[l], {}, p.memory[acts.query[l]], update::replace);
  }
};

}  // namespace strata
