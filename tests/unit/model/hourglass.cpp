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

/// A forward pass.
template <class Model>
struct trial {
  using F = models::facts<Model>;
  static constexpr index_type batch = 2, tokens = 30;
  static constexpr auto acts =
      plan_activations<Model::description>(Model::losses.of_model(F::model), batch, tokens, activation_use::training);
  static constexpr auto& own = models::parameters<Model>::layout.network;

  reference<double> backend;
  models::training_model<Model, reference<double>> model{backend, 1};
  buffer<double> memory{acts.memory_size}, scratch{acts.scratch_size};
  pass<reference<double>> p{backend, batch, tokens, {model.weights().data}, {}, {memory.data()}, {scratch.data()}, {}};
  std::vector<token> ids = models::random_ids(batch, tokens, F::vocabulary, 1);

  void run(bool merge) {
    rotary_tables<Model::description, double>().upload_to(backend, acts, p.memory);
    forward(p, acts, own, {ids.data(), {batch, tokens}}, merge);
  }
  /// Streams of a level: after layer `i`, and those that enter it.
  view<double, 3> after(std::size_t i, std::size_t l) { return p.memory[acts.layers[i].blocks[l].y]; }
  view<double, 3> entering(std::size_t i, std::size_t l) { return p.memory[acts.layers[i].blocks[l].x]; }

  /// The largest difference from the formulas where linear maps shorten and lengthen level `l`, which runs in the layers
  /// `first` to `last`.
  double difference_of_level(std::size_t l, std::size_t first, std::size_t last) {
    const auto from = static_cast<std::size_t>(F::levels[l].from);
    const index_type stride = F::levels[l].source_stride;
    const auto fine = after(first - 1, from), coarse = after(last, l), joined = entering(last + 1, from);
    const auto shortened = p.memory[acts.compress[l].y];
    const auto shorten = p.weights[own.compress[l].projection];
    const auto lengthen = p.weights[own.upsample[l].map.weight];
    const auto bias = p.weights[own.upsample[l].map.bias];
    const index_type positions = fine.shape[1], fine_dim = fine.shape[2];
    REQUIRE(shorten.shape == std::array<index_type, 2>{F::levels[l].dim, fine_dim * stride});
    REQUIRE(shortened.shape == std::array<index_type, 3>{batch, (positions + stride - 1) / stride, F::levels[l].dim});
    double worst = 0;
    for (index_type b = 0; b < batch; ++b) {
      // Position i ends at position i stride of the finer level.
      for (index_type i = 0; i < shortened.shape[1]; ++i)
        for (index_type d = 0; d < shortened.shape[2]; ++d) {
          const double expected = row_times(shorten, d, [&](index_type k) {
            const index_type t = i * stride - (stride - 1) + k % stride;
            return t < 0 ? 0 : fine(b, t, k / stride);
          });
          worst = std::max(worst, std::abs(shortened(b, i, d) - expected));
        }
      for (index_type t = 0; t < positions; ++t)
        for (index_type d = 0; d < fine_dim; ++d) {
          const index_type row = d * stride + t % stride;
          const double added =
              bias(row) + row_times(lengthen, row, [&](index_type k) { return coarse(b, t / stride, k); });
          worst = std::max(worst, std::abs(joined(b, t, d) - (fine(b, t, d) + added)));
        }
    }
    return worst;
  }
};

bool same(view<double, 3> x, view<double, 3> y) {
  return std::equal(x.data, x.data + x.size(), y.data, y.data + y.size());
}

}  // namespace

TEST_CASE("an hourglass shortens and lengthens by its formula") {
  trial<models::hourglass> of;
  of.run(true);
  CHECK(of.difference_of_level(0, 1, 2) < 1e-12);
  of.run(false);
  CHECK(same(of.after(0, 1), of.entering(3, 1)));  // the fine level alone
}

TEST_CASE("nested levels shorten and lengthen by their formula") {
  trial<models::nested_linear_hourglass> of;
  of.run(true);
  CHECK(of.difference_of_level(0, 1, 4) < 1e-12);  // 2x in the tokens
  CHECK(of.difference_of_level(1, 2, 3) < 1e-12);  // 8x in 2x
  of.run(false);
  CHECK(same(of.after(0, 2), of.entering(5, 2)));
  CHECK(same(of.after(1, 0), of.entering(4, 0)));
}

TEST_CASE("tokens of an hourglass attend to the coarse positions by the formula") {
  trial<models::attending_hourglass> of;
  constexpr std::size_t coarse_level = 0, fine_level = 1;
  constexpr index_type stride = 4;
  const auto fine = of.after(0, fine_level), coarse = of.after(2, coarse_level), joined = of.entering(3, fine_level);
  const auto& own = of.own.upsample[coarse_level].attention;
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
      const index_type newest = t / stride, count = std::min(newest + 1, span);
      const auto part_of = [&](index_type position, index_type row) {
        return row_times(to_key_value, row, [&](index_type k) { return coarse(b, position, k); });
      };
      std::vector<double> mixed(head_dim);
      double total = 0;
      for (index_type back = 0; back < count; ++back) {
        double score = 0;
        for (index_type e = 0; e < head_dim; ++e)
          score += row_times(to_query, e, [&](index_type k) { return fine(b, t, k); }) * part_of(newest - back, e);
        const double share = std::exp(score / 2 + bias(0, back));  // 2 is the root of head_dim
        total += share;
        for (index_type e = 0; e < head_dim; ++e)
          mixed[static_cast<std::size_t>(e)] += share * part_of(newest - back, head_dim + e);
      }
      for (index_type d = 0; d < 4; ++d) {
        const double added = out_bias(d) + row_times(to_out, d, [&](index_type e) {
                               return mixed[static_cast<std::size_t>(e)] / total;
                             });
        worst = std::max(worst, std::abs(joined(b, t, d) - (fine(b, t, d) + added)));
      }
    }
  CHECK(worst < 1e-12);

  of.run(false);
  CHECK(same(fine, joined));
}

TEST_CASE("a coarse level that is wider than all others has its own room in every use of a model") {
  static constexpr description wide{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 3,
      .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .window = 5, .before = 1, .after = 1},
                 {.compression = 2,
                  .stride = 2,
                  .dim = 256,
                  .heads = 2,
                  .head_dim = 4,
                  .window = 3,
                  .routing = {.light_multiple = 1, .capacity = 0.5}}}};
  reference<float> backend;
  const auto ids = models::random_ids(2, 33, 11, 1);
  transformer<wide, reference<float>> training(backend, 1), recomputing(backend, 1);
  transformer<wide, reference<float>, inference> running(backend, 1);
  const auto copied = [](const auto& values) { return std::vector<float>(values.data, values.data + values.size()); };
  CHECK(copied(running.forward({ids.data(), {2, 32}})) == copied(training.forward({ids.data(), {2, 32}})));
  recomputing.recompute_activations(true);
  training.accumulate_gradients({ids.data(), {2, 33}});
  recomputing.accumulate_gradients({ids.data(), {2, 33}});
  CHECK(copied(recomputing.gradients()) == copied(training.gradients()));
}

}  // namespace strata
