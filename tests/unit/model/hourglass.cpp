// An hourglass against its formula: which tokens a coarse position sees, and which coarse positions a token gets.
#include <cmath>
#include <vector>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"

namespace strata {
namespace {

/// sum over k of matrix[row, k] x(k).
template <class Matrix, class X>
double row_times(const Matrix& matrix, index_type row, X x) {
  double sum = 0;
  for (index_type k = 0; k < matrix.shape[1]; ++k) sum += matrix(row, k) * x(k);
  return sum;
}

/// A forward pass of an hourglass with one fine layer before and two coarse ones.
template <class Model>
struct trial {
  using F = models::facts<Model>;
  static constexpr index_type batch = 2, tokens = 30, stride = 4;
  static constexpr auto acts =
      plan_activations<Model::description>(Model::losses.of_model(F::model), batch, tokens, activation_use::training);
  static constexpr auto& own = models::parameters<Model>::layout.network;

  reference<double> backend;
  models::training_model<Model, reference<double>> model{backend, 1};
  buffer<double> memory{acts.memory_size}, scratch{acts.scratch_size};
  pass<reference<double>> p{backend, batch, tokens, {model.weights().data}, {}, {memory.data()}, {scratch.data()}, {}};
  std::vector<token> ids = models::random_ids(batch, tokens, F::vocabulary, 1);
  view<double, 3> fine = p.memory[acts.layers[0].blocks[F::fine].y],
                  coarse = p.memory[acts.layers[2].blocks[F::coarse].y],
                  joined = p.memory[acts.layers[3].blocks[F::fine].x];

  void run(bool merge) {
    upload_rotary_tables(backend, acts, p.memory);
    forward(p, acts, own, {ids.data(), {batch, tokens}}, merge);
  }
};

}  // namespace

TEST_CASE("an hourglass shortens and lengthens by its formula") {
  using F = models::facts<models::hourglass>;
  trial<models::hourglass> of;
  constexpr index_type stride = of.stride;
  of.run(true);

  // The fine stream after one layer, shortened: position i ends at token 4 i.
  const auto shortened = of.p.memory[of.acts.compress[F::coarse].y];
  const auto shorten = of.p.weights[of.own.compress[F::coarse].projection];
  REQUIRE(shortened.shape == std::array<index_type, 3>{of.batch, 8, 6});
  REQUIRE(shorten.shape == std::array<index_type, 2>{6, 4 * stride});
  // Two layers later the coarse positions are added, and the fine stream goes on from where it was.
  const auto upsample = of.p.weights[of.own.upsample.map.weight];
  const auto bias = of.p.weights[of.own.upsample.map.bias];
  double worst = 0;
  for (index_type b = 0; b < of.batch; ++b) {
    for (index_type i = 0; i < 8; ++i)
      for (index_type d = 0; d < 6; ++d) {
        const double expected = row_times(shorten, d, [&](index_type k) {
          const index_type t = i * stride - (stride - 1) + k % stride;
          return t < 0 ? 0 : of.fine(b, t, k / stride);
        });
        worst = std::max(worst, std::abs(shortened(b, i, d) - expected));
      }
    for (index_type t = 0; t < of.tokens; ++t)
      for (index_type d = 0; d < 4; ++d) {
        const index_type row = d * stride + t % stride;
        const double added =
            bias(row) + row_times(upsample, row, [&](index_type k) { return of.coarse(b, t / stride, k); });
        worst = std::max(worst, std::abs(of.joined(b, t, d) - (of.fine(b, t, d) + added)));
      }
  }
  CHECK(worst < 1e-12);

  of.run(false);
  CHECK(std::equal(of.fine.data, of.fine.data + of.fine.size(), of.joined.data));  // the fine level alone
}

TEST_CASE("tokens of an hourglass attend to the coarse positions by the formula") {
  trial<models::attending_hourglass> of;
  const auto& own = of.own.upsample.attention;
  constexpr index_type head_dim = 4, span = 3;  // of the coarse level, which has one head
  const auto to_query = of.p.weights[own.to_query], to_key_value = of.p.weights[own.to_key_value];
  const auto to_out = of.p.weights[own.to_out];
  const auto out_bias = of.p.weights[own.out_bias];
  const auto bias = tensor_memory<double>{of.model.weights().data}[own.bias];
  REQUIRE(to_query.shape == std::array<index_type, 2>{head_dim, 4});
  REQUIRE(to_key_value.shape == std::array<index_type, 2>{2 * head_dim, 6});
  REQUIRE(bias.shape == std::array<index_type, 2>{1, span});
  for (index_type back = 0; back < span; ++back) bias(0, back) = 0.3 - 0.4 * static_cast<double>(back);
  of.run(true);

  double worst = 0;
  for (index_type b = 0; b < of.batch; ++b)
    for (index_type t = 0; t < of.tokens; ++t) {
      const index_type newest = t / of.stride, count = std::min(newest + 1, span);
      const auto part_of = [&](index_type position, index_type row) {
        return row_times(to_key_value, row, [&](index_type k) { return of.coarse(b, position, k); });
      };
      std::vector<double> mixed(head_dim);
      double total = 0;
      for (index_type back = 0; back < count; ++back) {
        double score = 0;
        for (index_type e = 0; e < head_dim; ++e)
          score += row_times(to_query, e, [&](index_type k) { return of.fine(b, t, k); }) * part_of(newest - back, e);
        const double share = std::exp(score / 2 + bias(0, back));  // 2 is the root of head_dim
        total += share;
        for (index_type e = 0; e < head_dim; ++e)
          mixed[static_cast<std::size_t>(e)] += share * part_of(newest - back, head_dim + e);
      }
      for (index_type d = 0; d < 4; ++d) {
        const double added = out_bias(d) + row_times(to_out, d, [&](index_type e) {
                               return mixed[static_cast<std::size_t>(e)] / total;
                             });
        worst = std::max(worst, std::abs(of.joined(b, t, d) - (of.fine(b, t, d) + added)));
      }
    }
  CHECK(worst < 1e-12);

  of.run(false);
  CHECK(std::equal(of.fine.data, of.fine.data + of.fine.size(), of.joined.data));
}

}  // namespace strata
