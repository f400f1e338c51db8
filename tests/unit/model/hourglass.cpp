// An hourglass against its formula: which tokens a coarse position sees, and which coarse position a token gets.
#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

/// sum over k of matrix[row, k] x(k).
template <class Matrix, class X>
double row_times(const Matrix& matrix, strata::index row, X x) {
  double sum = 0;
  for (strata::index k = 0; k < matrix.shape[1]; ++k) sum += matrix(row, k) * x(k);
  return sum;
}

}  // namespace

TEST_CASE("an hourglass shortens and lengthens by its formula") {
  using F = strata::facts<models::hourglass>;
  constexpr strata::index batch = 2, tokens = 30, stride = 4;
  constexpr auto acts = strata::plan_activations<models::hourglass>(batch, tokens, strata::activation_use::training);
  constexpr auto& own = strata::parameters<models::hourglass>::layout;
  strata::reference<double> backend;
  const strata::transformer<models::hourglass, strata::reference<double>> model(backend, 1);
  strata::buffer<double> memory(acts.memory_size), scratch(acts.scratch_size);
  const auto ids = models::random_ids(batch, tokens, models::hourglass::vocabulary, 1);
  const strata::pass<strata::reference<double>> p{backend, batch,           tokens,           {model.weights().data},
                                                  {},      {memory.data()}, {scratch.data()}, {}};
  strata::upload_rotary_tables(backend, acts, p.memory);
  const auto run = [&](bool merge) {
    strata::forward(p, acts, strata::view<const strata::token, 2>{ids.data(), {batch, tokens}}, merge);
  };
  run(true);

  // The fine stream after one layer, shortened: position i ends at token 4 i.
  const auto fine = p.memory[acts.layers[0].blocks[F::fine].y];
  const auto shortened = p.memory[acts.compress[F::coarse].y];
  const auto shorten = p.weights[own.compress[F::coarse].projection];
  REQUIRE(shortened.shape == std::array<strata::index, 3>{batch, 8, 6});
  REQUIRE(shorten.shape == std::array<strata::index, 2>{6, 4 * stride});
  // Two layers later all coarse positions are in, and the fine stream goes on from where it was.
  const auto coarse = p.memory[acts.layers[2].blocks[F::coarse].y];
  const auto joined = p.memory[acts.layers[3].blocks[F::fine].x];
  const auto upsample = p.weights[own.upsample.weight];
  const auto bias = p.weights[own.upsample.bias];
  double worst = 0;
  for (strata::index b = 0; b < batch; ++b) {
    for (strata::index i = 0; i < 8; ++i)
      for (strata::index d = 0; d < 6; ++d) {
        const double expected = row_times(shorten, d, [&](strata::index k) {
          const strata::index t = i * stride - (stride - 1) + k % stride;
          return t < 0 ? 0 : fine(b, t, k / stride);
        });
        worst = std::max(worst, std::abs(shortened(b, i, d) - expected));
      }
    for (strata::index t = 0; t < tokens; ++t)
      for (strata::index d = 0; d < 4; ++d) {
        const strata::index row = d * stride + t % stride;
        const double added =
            bias(row) + row_times(upsample, row, [&](strata::index k) { return coarse(b, t / stride, k); });
        worst = std::max(worst, std::abs(joined(b, t, d) - (fine(b, t, d) + added)));
      }
  }
  CHECK(worst < 1e-12);

  run(false);
  CHECK(std::equal(fine.data, fine.data + fine.size(), joined.data));  // the fine level alone
}
