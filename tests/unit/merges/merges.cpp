// What each merge adds, against the formula of docs/model.md, one position at a time.
#include <cmath>
#include <functional>
#include <vector>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace strata {
namespace {

using numbers = std::vector<double>;
using backend_type = reference<double>;

constexpr description three_levels{.vocabulary = 5,
                                   .max_length = 32,
                                   .depth = 1,
                                   .levels = {{.compression = 4, .stride = 2, .dim = 5, .heads = 1, .head_dim = 2},
                                              {.dim = 4, .heads = 1, .head_dim = 2},
                                              {.compression = 8, .stride = 8, .dim = 6, .heads = 1, .head_dim = 2}},
                                   .receiving_levels = {2, the_predicting_level}};
constexpr auto of_equal_widths = with(with_merge(three_levels, separable{}), [](auto& d) {
  for (int l = 0; l < 3; ++l) d.levels[l].dim = 5;
});
constexpr auto attending = with_merge(three_levels, level_attention{.window = 4, .heads = 2, .head_dim = 3});
constexpr auto attending_to_coarser = with(attending, [](auto& d) {
  d.merge.direction = level_direction::coarser;
  d.receiving_levels = {0};
});
constexpr auto shifting = with_merge(three_levels, level_shift{.feed_forward_multiple = 3});

/// One merge of a layer, with random weights, on random streams of 2 texts.
template <const auto& D>
struct trial {
  using F = facts<D>;
  static constexpr index_type batch = 2, tokens = 21;
  static constexpr const auto& merge = chosen_merge<D>;
  static constexpr const auto& own = parameters<D>::layout.network.layers[0].merge;

  backend_type device;
  workbench<backend_type> bench{device, 3};
  view<double, 1> weights = bench.normal({parameters<D>::buffer_size}, 0.7);
  std::vector<view<double, 3>> x;
  std::vector<numbers> before;

  trial() {
    const auto acts = plan_activations<D>(losses<>(), batch, tokens, activation_use::training);
    const auto memory = bench.unset({acts.memory_size}), scratch = bench.unset({acts.scratch_size});
    for (const level_facts& level : F::levels) {
      x.push_back(bench.normal({batch, level.positions(tokens), level.dim}));
      before.push_back(bench.read(x.back()));
    }
    const pass<backend_type> p{device, batch, tokens, {weights.data}, {}, {memory.data}, {scratch.data}, {}};
    merge.forward(p, own, acts.layers[0].merge, x);
  }

  template <int Rank>
  view<double, Rank> weight(const tensor<Rank>& place) const {
    return tensor_memory<double>{weights.data}[place];
  }
  /// Position `i` of level `l` of text `b` before the merge.
  numbers row(int l, index_type b, index_type i) const {
    const level_facts& level = F::levels[static_cast<std::size_t>(l)];
    const auto first = before[static_cast<std::size_t>(l)].begin() + (b * level.positions(tokens) + i) * level.dim;
    return {first, first + level.dim};
  }
  /// The same for the position that ends at or before token `t`.
  numbers shown(int l, index_type b, index_type t) const {
    return row(l, b, t / F::levels[static_cast<std::size_t>(l)].stride);
  }
  numbers norm(const norm_parameters& norm, numbers v) const {
    const double size = std::sqrt(dot(v, v));
    for (std::size_t d = 0; d < v.size(); ++d)
      v[d] *= std::sqrt(static_cast<double>(v.size())) / size * weight(norm.gain)(static_cast<index_type>(d));
    return v;
  }
  numbers linear(const tensor<2>& matrix, const numbers& v, const tensor<1>& bias = {}) const {
    numbers y;
    for (index_type n = 0; n < matrix.shape[0]; ++n) {
      y.push_back(bias ? weight(bias)(n) : 0);
      for (index_type k = 0; k < matrix.shape[1]; ++k)
        y.back() += weight(matrix)(n, k) * v[static_cast<std::size_t>(k)];
    }
    return y;
  }

  /// Checks that every receiving level got `formula(l, b, t)` at the tokens of its positions, and the others nothing.
  void check(const std::function<numbers(int, index_type, index_type)>& formula) {
    for (int l = 0; l < F::level_count; ++l) {
      CAPTURE(l);
      const level_facts& level = F::levels[static_cast<std::size_t>(l)];
      numbers expected = before[static_cast<std::size_t>(l)];
      for (index_type b = 0; level.receives && b < batch; ++b)
        for (index_type i = 0; i < level.positions(tokens); ++i) {
          const numbers added = formula(l, b, i * level.stride);
          REQUIRE(static_cast<int>(added.size()) == level.dim);
          for (int d = 0; d < level.dim; ++d)
            expected[static_cast<std::size_t>((b * level.positions(tokens) + i) * level.dim + d)] +=
                added[static_cast<std::size_t>(d)];
        }
      CHECK(relative_error(bench.read(x[static_cast<std::size_t>(l)]), expected) < 1e-13);
    }
  }
};

template <const auto& D>
void check_attention() {
  trial<D> own;
  constexpr auto& merge = trial<D>::merge;
  own.check([&](int receiver, index_type b, index_type t) {
    const auto r = static_cast<std::size_t>(receiver);
    const numbers query = own.linear(own.own.to_q[r], own.norm(own.own.norm[r], own.shown(receiver, b, t)));
    numbers mixed(query.size());
    const auto width = static_cast<std::size_t>(merge.head_dim);
    for (std::size_t head = 0; head < static_cast<std::size_t>(merge.heads); ++head) {
      double total = 0;
      numbers sum(width);
      for (std::size_t l = 0; l < merge.model.levels.size(); ++l) {
        if (!merge.attends(r, l)) continue;
        const index_type newest = t / merge.model.levels[l].stride;
        for (index_type distance = 0; distance < merge.window && distance <= newest; ++distance) {
          const numbers kv = own.linear(own.own.to_kv[l],
                                        own.norm(own.own.norm[l], own.row(static_cast<int>(l), b, newest - distance)));
          double score = own.weight(own.own.bias[r][l])(static_cast<index_type>(head) * merge.window + distance);
          for (std::size_t e = 0; e < width; ++e)
            score += query[head * width + e] * kv[head * width + e] / std::sqrt(static_cast<double>(width));
          total += std::exp(score);
          for (std::size_t e = 0; e < width; ++e) sum[e] += std::exp(score) * kv[query.size() + head * width + e];
        }
      }
      for (std::size_t e = 0; e < width; ++e) mixed[head * width + e] = sum[e] / total;
    }
    return own.linear(own.own.to_out[r], mixed);
  });
}

}  // namespace

TEST_CASE("concatenate adds what its formula says") {
  trial<three_levels> own;
  own.check([&](int receiver, index_type b, index_type t) {
    numbers together;
    for (int l = 0; l < 3; ++l) {
      const numbers part = own.shown(l, b, t);
      together.insert(together.end(), part.begin(), part.end());
    }
    numbers hidden = own.linear(own.own.up, own.norm(own.own.norm, together), own.own.up_bias);
    for (double& value : hidden) value /= 1 + std::exp(-value);
    const numbers all = own.linear(own.own.down, hidden, own.own.down_bias);
    REQUIRE(all.size() == 10);  // first what level 1 receives, then level 2
    return receiver == 1 ? numbers(all.begin(), all.begin() + 4) : numbers(all.begin() + 4, all.end());
  });
}

TEST_CASE("separable adds what its formula says") {
  trial<of_equal_widths> own;
  own.check([&](int, index_type b, index_type t) {
    numbers mixed = own.bench.read(own.weight(own.own.depthwise_bias));
    for (std::size_t l = 0; l < 3; ++l) {
      const numbers normed = own.norm(own.own.norm[l], own.shown(static_cast<int>(l), b, t));
      for (std::size_t d = 0; d < 5; ++d)
        mixed[d] += own.weight(own.own.depthwise[l])(static_cast<index_type>(d)) * normed[d];
    }
    return own.linear(own.own.pointwise, mixed, own.own.pointwise_bias);
  });
}

TEST_CASE("level_attention adds what its formula says") { check_attention<attending>(); }
TEST_CASE("level_attention to coarser levels adds what its formula says") { check_attention<attending_to_coarser>(); }

TEST_CASE("level_shift adds what its formula says") {
  trial<shifting> own;
  own.check([&](int receiver, index_type b, index_type t) {
    // Of widths 5, 4 and 6 each receiving level takes one channel of the two others.
    numbers shifted = own.shown(receiver, b, t);
    shifted.resize(shifted.size() - 2);
    for (int l = 0; l < 3; ++l)
      if (l != receiver) shifted.push_back(own.shown(l, b, t).back());
    const auto r = static_cast<std::size_t>(receiver);
    numbers hidden = own.linear(own.own.feed_forward[r].up, own.norm(own.own.norm[r], shifted));
    for (double& value : hidden) value *= 0.5 * (1 + std::erf(value / std::sqrt(2.0)));
    return own.linear(own.own.feed_forward[r].down, hidden);
  });
}

}  // namespace strata
