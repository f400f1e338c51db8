// A shift across levels and a feed-forward: channels of the other levels replace some channels of a receiving level.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <string_view>

#include <strata/layers/norm.hpp>
#include <strata/layers/perceptron.hpp>
#include <strata/merges/context.hpp>

namespace strata::inline STRATA_ABI {

struct level_shift {
  int feed_forward_multiple = 4;  ///< hidden width of the feed-forward divided by the receiving level's width
  model_facts model = {};

  static constexpr std::string_view name = "level_shift";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("feed_forward_multiple", own.feed_forward_multiple);
  }
  struct parameters {
    each_level<norm_parameters> norm;
    each_level<perceptron_parameters> feed_forward;
  };
  struct activations {
    each_level<tensor<3>> shifted;  // [B,n,d]
    each_level<norm_activations> norm;
    each_level<perceptron_activations> feed_forward;
    each_level<tensor<3>> dshifted;  // scratch, as shifted
    each_level<tensor<3>> normed;    // scratch [B,n,d], one level after another; in backward also its gradient
  };

  template <const auto& Own>
  static constexpr bool check() {
    constexpr bool positive = Own.feed_forward_multiple > 0;
    static_assert(positive, "strata: level_shift: feed_forward_multiple must be positive");
    constexpr bool wide_enough = Own.every_share([](index_type share, const level_facts&) { return share > 0; });
    static_assert(wide_enough,
                  "strata: level_shift: a receiving level is too narrow for a channel of every other level");
    constexpr bool can_give =
        Own.every_share([](index_type share, const level_facts& giver) { return share <= giver.dim; });
    static_assert(can_give, "strata: level_shift: a level is narrower than what a receiving level takes of it");
    return true;
  }
  constexpr index_type hidden(std::size_t l) const { return index_type{model.levels[l].dim} * feed_forward_multiple; }
  /// Channels that receiving level `l` takes from every other level.
  constexpr index_type share(std::size_t l) const {
    return model.levels[l].dim / 2 / (static_cast<index_type>(model.levels.size()) - 1);
  }

  template <class Table>
  constexpr parameters declare(Table& table, int layer) const {
    using name_type = typename Table::name;
    const name_type prefix = name_type("hierarchical_merges.") + layer;
    parameters own;
    for (int n = 0; n < static_cast<int>(model.levels.size()); ++n) {
      const auto l = static_cast<std::size_t>(n);
      if (!model.levels[l].receives) continue;
      own.norm[l] = declare_rms_norm(table, prefix + ".norms." + n, model.levels[l].dim);
      own.feed_forward[l] =
          declare_perceptron(table, prefix + ".up." + n, prefix + ".down." + n, model.levels[l].dim, hidden(l));
    }
    return own;
  }

  constexpr activations plan(activation_plan& plan, index_type batch, index_type tokens) const {
    activations own;
    memory_plan scratch;
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      own.shifted[l] = plan.memory.add<3>({batch, model.levels[l].positions(tokens), model.levels[l].dim});
      own.norm[l] = plan_norm(plan.memory, batch * model.levels[l].positions(tokens));
      if (plan.training) own.dshifted[l] = scratch.add<3>(own.shifted[l].shape);
    }
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      memory_plan level_scratch = scratch;
      own.normed[l] = level_scratch.add<3>(own.shifted[l].shape);
      own.feed_forward[l] =
          plan_perceptron(plan.memory, level_scratch, batch * model.levels[l].positions(tokens), hidden(l));
      plan.scratch_used(level_scratch);
    }
    return own;
  }

  constexpr double forward_flops(index_type batch, index_type tokens) const {
    double flops = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      flops += static_cast<double>(batch * model.levels[l].positions(tokens)) * position_flops(l);
    return flops;
  }
  constexpr double step_flops() const {
    double flops = 0;
    for (std::size_t l = 0; l < model.levels.size(); ++l) flops += position_flops(l) / model.levels[l].stride;
    return flops;
  }

  template <class Backend, class S = typename Backend::scalar>
  void forward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    add_merged(p, own, acts, 0, x, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void recompute(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S> x) const {
    shift(p, acts, 0, x);
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.levels[l].receives)
        linear(p, norm(p, own, acts, l).rows(), own.feed_forward[l].up, {}, p.memory[acts.feed_forward[l].hidden],
               update::replace);
  }

  template <class Backend, class S = typename Backend::scalar>
  void step(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
            level_streams<S> current, level_streams<S> x) const {
    add_merged(p, own, acts, position, current, x);
  }

  template <class Backend, class S = typename Backend::scalar>
  void backward(const pass<Backend>& p, const parameters& own, const activations& acts, level_streams<S>,
                level_streams<S> dx) const {
    for (std::size_t l = 0; l < model.levels.size(); ++l) {
      if (!model.levels[l].receives) continue;
      const auto normed = norm(p, own, acts, l), dnormed = normed;
      const auto dshifted = p.scratch[acts.dshifted[l]];
      perceptron_backward(p, own.feed_forward[l], acts.feed_forward[l], normed.rows(), dx[l].rows(), dnormed.rows());
      fill(p.backend, S{0}, dshifted.flat());
      norm_backward(p, own.norm[l], acts.norm[l], p.memory[acts.shifted[l]], 0, dnormed, dshifted);
    }
    // In a second loop: the first loop reads dx as the gradient after the merge.
    for_each_share([&](std::size_t receiver, std::size_t l, const column_range& range) {
      take_columns_backward(p.backend, p.scratch[acts.dshifted[receiver]], range, dx[l]);
    });
  }

 private:
  constexpr double position_flops(std::size_t l) const {
    return model.levels[l].receives ? 4 * static_cast<double>(model.levels[l].dim * hidden(l)) : 0;
  }
  /// Whether rule(share, giver) holds for every receiving level and every other level, the giver.
  template <class Rule>
  constexpr bool every_share(Rule rule) const {
    for (std::size_t r = 0; r < model.levels.size(); ++r)
      for (std::size_t l = 0; l < model.levels.size(); ++l)
        if (model.levels[r].receives && l != r && !rule(share(r), model.levels[l])) return false;
    return true;
  }
  /// Calls body(receiver, level, columns) for every level from which a receiver takes columns, its own level first.
  template <class Body>
  void for_each_share(Body body) const {
    for (std::size_t r = 0; r < model.levels.size(); ++r) {
      if (!model.levels[r].receives) continue;
      const int stride = model.levels[r].stride;
      const index_type taken = share(r);
      index_type column = model.levels[r].dim - taken * (static_cast<index_type>(model.levels.size()) - 1);
      body(r, r, column_range{stride, 0, stride, 0, column});
      for (std::size_t l = 0; l < model.levels.size(); ++l) {
        if (l == r) continue;
        body(r, l, column_range{model.levels[l].stride, model.levels[l].dim - taken, stride, column, taken});
        column += taken;
      }
    }
  }
  /// Fills `acts.shifted` of the levels that receive at `position`.
  template <class Backend, class S = typename Backend::scalar>
  void shift(const pass<Backend>& p, const activations& acts, index_type position, level_streams<S> from) const {
    for_each_share([&](std::size_t receiver, std::size_t l, const column_range& range) {
      if (model.receives_at(receiver, position))
        take_columns(p.backend, from[l], range, p.memory[acts.shifted[receiver]]);
    });
  }
  template <class Backend, class S = typename Backend::scalar>
  view<S, 3> norm(const pass<Backend>& p, const parameters& own, const activations& acts, std::size_t l) const {
    const auto normed = p.scratch[acts.normed[l]];
    norm_forward(p, own.norm[l], acts.norm[l], p.memory[acts.shifted[l]], 0, normed);
    return normed;
  }
  /// Adds the merge of `from` to `x`. `position` is the token of a step, or 0 for full sequences.
  template <class Backend, class S = typename Backend::scalar>
  void add_merged(const pass<Backend>& p, const parameters& own, const activations& acts, index_type position,
                  level_streams<S> from, level_streams<S> x) const {
    shift(p, acts, position, from);
    for (std::size_t l = 0; l < model.levels.size(); ++l)
      if (model.receives_at(l, position))
        perceptron_forward(p, own.feed_forward[l], acts.feed_forward[l], norm(p, own, acts, l).rows(), x[l].rows(),
                           update::add);
  }
};

}  // namespace strata
