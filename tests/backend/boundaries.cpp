// Levels whose boundaries follow the text: where they begin, and their ways down and up, beside the golden file.
#include <string>
#include <vector>

#include <strata/io/safetensors.hpp>
#include <strata/layers/upsample.hpp>
#include <strata/model/cuts.hpp>

#include "backend/setups.hpp"

namespace strata {
namespace {

template <upsampling_kind Kind>
inline constexpr description words{.vocabulary = 256,
                                   .max_length = 64,
                                   .depth = 3,
                                   .levels = {{.dim = 5, .heads = 1, .head_dim = 2, .before = 1, .after = 1},
                                              {.compression = 4,
                                               .stride = 4,
                                               .dim = 7,
                                               .heads = 1,
                                               .head_dim = 2,
                                               .upsampling = Kind,
                                               .boundaries = boundaries::word_starts}}};

/// Rows of a padded tensor [B,M,d] that exist, which are those where `start` is not negative.
std::vector<double> without_padding(const std::vector<double>& padded, const std::vector<token>& start) {
  const std::size_t width = padded.size() / start.size();
  std::vector<double> rows;
  for (std::size_t n = 0; n < start.size(); ++n)
    if (start[n] >= 0) rows.insert(rows.end(), padded.begin() + n * width, padded.begin() + (n + 1) * width);
  return rows;
}

/// The way up of the golden file with this name.
template <upsampling_kind Kind, class Backend>
void check_way_up(Backend& backend, const safetensors_file& file, const std::string& name, double tolerance) {
  CAPTURE(name);
  using F = facts<words<Kind>>;
  using S = typename Backend::scalar;
  constexpr index_type texts = 2, length = 64, fine = 5, coarse_dim = 7, offsets = upsample_offsets;
  const level_facts& level = F::levels[1];
  const auto of_file = [&](const std::string& tensor) { return file.values<double>(tensor); };
  const auto ids = file.values<token>("ids"), start = file.values<token>("start");
  level_cuts<words<Kind>, Backend> cuts;
  cuts.find(backend, {ids.data(), {texts, length}});
  const index_type rows = cuts.shapes()[1].positions;
  REQUIRE(rows == static_cast<index_type>(std::ranges::count_if(start, [](token each) { return each >= 0; })));

  workbench bench(backend);
  const auto written = [&](auto place, const std::vector<double>& values) {
    bench.write(place, values);  // in double, which the file has
    return place;
  };
  const auto x = written(bench.unset({texts * length, fine}), of_file("x"));
  const auto down = bench.unset({rows, fine});
  embed(backend, cuts.views()[1].starts, x, down, update::replace);
  CHECK(relative_error(bench.read(down), without_padding(of_file("down"), start)) < tolerance);

  activation_plan plan;
  const auto coarse_at = plan.memory.add<3>({1, rows, coarse_dim}), x_at = plan.memory.add<3>({texts, length, fine});
  const upsample_activations acts = plan_upsample(plan, level, coarse_at, x_at, plan.memory.add<3>(x_at.shape));
  memory_plan parameters;
  upsample_parameters own;
  std::vector<double> weights(static_cast<std::size_t>(16 * 48 * offsets));
  const auto put = [&](tensor<2>& where, std::size_t k) {
    where = parameters.add<2>({fine, coarse_dim});
    const auto w = of_file("W"), v = of_file("V");
    for (std::size_t n = 0; n < w.size(); ++n)
      weights[static_cast<std::size_t>(where.offset) + n] =
          w[n] + (Kind == upsampling_kind::by_offset ? v[k * w.size() + n] : 0);
  };
  if (Kind == upsampling_kind::by_offset) {
    for (std::size_t k = 0; k < own.by_offset.size(); ++k) put(own.by_offset[k], k);
  } else {
    put(own.map.weight, 0);
    own.map.bias = parameters.add<1>({fine});
  }
  const auto memory = bench.all(0, {plan.memory.size()}), scratch = bench.all(0, {plan.scratch_size});
  const auto weight = written(bench.unset({static_cast<index_type>(weights.size())}), weights);
  const auto gradient = bench.all(0, {weight.size()});
  const pass<Backend> p{.backend = backend,
                        .batch = texts,
                        .tokens = length,
                        .weights = {weight.data},
                        .gradients = {gradient.data},
                        .memory = {memory.data},
                        .scratch = {scratch.data},
                        .targets = {},
                        .cuts = cuts.views()};
  written(p.memory[acts.coarse], without_padding(of_file("yhat"), start));
  written(p.memory[acts.x], of_file("x"));
  upsample_forward(p, level, own, acts, true, 1);
  CHECK(relative_error(bench.read(p.memory[acts.y]), of_file(name + ".z")) < tolerance);

  const auto dx = written(bench.unset({texts, length, fine}), of_file("dout"));
  const auto dcoarse = bench.all(0, {1, rows, coarse_dim});
  upsample_backward(p, level, own, acts, dx, dcoarse, 1);
  CHECK(relative_error(bench.read(dx), of_file(name + ".grad.x")) < tolerance);
  CHECK(relative_error(bench.read(dcoarse), without_padding(of_file(name + ".grad.yhat"), start)) < tolerance);
  if (Kind != upsampling_kind::by_offset) {
    CHECK(relative_error(bench.read(p.gradients[own.map.weight]), of_file(name + ".grad.W")) < tolerance);
    return;
  }
  // The file adds the map of an offset to a common one: each of its gradients is ours.
  const auto expected = of_file(name + ".grad.V");
  std::vector<double> got;
  for (const auto& each : own.by_offset) {
    const auto values = bench.read(view<S, 2>(p.gradients[each]));
    got.insert(got.end(), values.begin(), values.end());
  }
  CHECK(relative_error(got, expected) < tolerance);
}

}  // namespace

TEST_CASE("boundaries: word starts and their ways down and up equal the golden file") {
  const safetensors_file file = safetensors_file::read(STRATA_GOLDEN_DATA "/word_starts.safetensors");
  const auto check = [&](auto& backend, double tolerance) {
    check_way_up<upsampling_kind::linear>(backend, file, "everywhere", tolerance);
    check_way_up<upsampling_kind::at_boundaries>(backend, file, "at_boundaries", tolerance);
    check_way_up<upsampling_kind::by_offset>(backend, file, "by_offset", tolerance);
  };
  reference<double> exact;
  check(exact, 1e-14);
  on_every_setup(setups::of_most, [&](tested& backend, const std::string& setup) {
    INFO(setup);
    check(backend, 1e-6);
  });
}

TEST_CASE("boundaries: learned ones equal the golden file") {
  const safetensors_file file = safetensors_file::read(STRATA_GOLDEN_DATA "/learned_boundaries.safetensors");
  const auto of_file = [&](const std::string& tensor) { return file.values<double>(tensor); };
  const auto start = file.values<token>("start"), newest = file.values<token>("newest");
  const double weight = std::stod(file.metadata("ratio_weight")), wanted = std::stod(file.metadata("N"));
  constexpr index_type texts = 2, length = 24, dim = 6, most = 16;
  const auto check = [&](auto& backend, double tolerance) {
    using S = typename std::remove_cvref_t<decltype(backend)>::scalar;
    workbench bench(backend);
    const auto written = [&](auto place, const std::vector<double>& values) {
      bench.write(place, values);  // in double, which the file has
      return place;
    };
    const auto x = written(bench.unset({texts, length, dim}), of_file("x"));
    const auto of_query = written(bench.unset({dim, dim}), of_file("Wq"));
    const auto of_key = written(bench.unset({dim, dim}), of_file("Wk"));
    const auto query = bench.unset({texts, length, dim}), key = bench.unset({texts, length, dim});
    linear(backend, x.rows(), of_query, {}, query.rows(), update::replace);
    linear(backend, x.rows(), of_key, {}, key.rows(), update::replace);
    const auto p = bench.unset({texts, length});
    boundary_probability(backend, query, key, p);
    CHECK(relative_error(bench.read(p), of_file("p")) < tolerance);
    const std::vector<double> probabilities = bench.read(p);
    const auto boundary = file.values<token>("boundary");
    for (std::size_t n = 0; n < boundary.size(); ++n) CHECK(begins_position(probabilities[n]) == (boundary[n] == 1));
    const auto loss = bench.all(0, {1});
    const auto dp = bench.all(0, {texts, length});
    boundary_ratio(backend, p.flat(), {}, wanted, static_cast<S>(weight), loss, dp.flat());
    CHECK(relative_error(bench.read(loss), of_file("ratio_loss")) < tolerance);

    // Of each text alone: the file pads the shorter one.
    for (index_type b = 0; b < texts; ++b) {
      CAPTURE(b);
      std::vector<token> starts, seen;
      for (index_type i = 0; i < most; ++i)
        if (const token own = start[static_cast<std::size_t>(b * most + i)]; own >= 0) starts.push_back(own);
      for (index_type t = 0; t < length; ++t) seen.push_back(newest[static_cast<std::size_t>(b * length + t)]);
      const auto count = static_cast<index_type>(starts.size());
      const auto begins = bench.tokens_of(starts, {count}), of_token = bench.tokens_of(seen, {length});
      const auto part = [&](const std::string& name, index_type rows, index_type kept) {
        const auto all = of_file(name);
        const auto first = all.begin() + b * rows * dim;
        return std::vector<double>(first, first + kept * dim);
      };
      const auto yhat = written(bench.unset({1, count, dim}), part("yhat", most, count));
      const auto share = bench.unset({count, 1});
      embed(backend, begins, p[b].template reshape<2>({length, 1}), share, update::replace);
      const auto shares = share.template reshape<2>({1, count});
      const auto smoothed = bench.unset({1, count, dim});
      smooth(backend, shares, yhat, smoothed);
      CHECK(relative_error(bench.read(smoothed), part("zbar", most, count)) < tolerance);
      const auto up = bench.unset({length, dim});
      embed(backend, of_token, smoothed.rows(), up, update::replace);
      CHECK(relative_error(bench.read(up), part("smoothed", length, length)) < tolerance);

      const auto dup = written(bench.unset({length, dim}), part("dout", length, length));
      const auto of_text = dp[b];
      confidence_backward(backend, p[b], up, dup, of_text);
      const auto dsmoothed = bench.all(0, {1, count, dim});
      const auto dshare = bench.unset({1, count});
      embed_backward(backend, of_token, dup, dsmoothed.rows());
      smooth_backward(backend, shares, yhat, smoothed, dsmoothed, dsmoothed, dshare);
      CHECK(relative_error(bench.read(dsmoothed), part("grad.yhat", most, count)) < tolerance);
      embed_backward(backend, begins, dshare.template reshape<2>({count, 1}), of_text.template reshape<2>({length, 1}));
    }
    const auto dquery = bench.unset({texts, length, dim}), dkey = bench.unset({texts, length, dim});
    boundary_probability_backward(backend, query, key, dp, dquery, dkey);
    const auto dof_query = bench.all(0, {dim, dim}), dof_key = bench.all(0, {dim, dim});
    linear_backward_weight(backend, dquery.rows(), x.rows(), dof_query, {});
    linear_backward_weight(backend, dkey.rows(), x.rows(), dof_key, {});
    CHECK(relative_error(bench.read(dof_query), of_file("grad.Wq")) < 10 * tolerance);
    CHECK(relative_error(bench.read(dof_key), of_file("grad.Wk")) < 10 * tolerance);
    const auto dx = bench.unset({texts, length, dim});
    linear_backward_input(backend, dquery.rows(), of_query, dx.rows(), update::replace);
    linear_backward_input(backend, dkey.rows(), of_key, dx.rows(), update::add);
    CHECK(relative_error(bench.read(dx), of_file("grad.x")) < 10 * tolerance);
  };
  reference<double> exact;
  check(exact, 1e-13);
  on_every_setup(setups::of_most, [&](tested& backend, const std::string& setup) {
    INFO(setup);
    check(backend, 1e-5);
  });
}

TEST_CASE("boundaries: learned ones equal the reference for any width") {
  for (const index_type dim : {1, 5, 64, 67}) {
    CAPTURE(dim);
    check_against_reference(1e-4, [&](auto& bench) {
      using S = typename std::remove_cvref_t<decltype(bench.backend)>::scalar;
      constexpr index_type texts = 3, length = 37;
      const auto query = bench.normal({texts, length, dim}), key = bench.normal({texts, length, dim});
      const auto p = bench.unset({texts, length});
      boundary_probability(bench.backend, query, key, p);
      bench.result("p", p);
      const auto dp = bench.normal({texts, length});
      const auto loss = bench.all(1, {1});
      const auto some = bench.tokens(-1, 3, {texts * length});  // a negative one does not count
      const auto dquery = bench.unset({texts, length, dim}), dkey = bench.unset({texts, length, dim});
      boundary_ratio(bench.backend, p.flat(), some, 5.0, S{2}, loss, dp.flat());
      bench.result("loss", loss);
      boundary_ratio(bench.backend, p.flat(), {}, 5.0, S{2}, loss, {});
      bench.result("loss again", loss);
      bench.result("dp of the ratio", dp);
      boundary_probability_backward(bench.backend, query, key, dp, dquery, dkey);
      bench.result("dquery", dquery);
      bench.result("dkey", dkey);
      const auto x = bench.normal({texts, length, dim}), y = bench.unset({texts, length, dim});
      smooth(bench.backend, p, x, y);
      bench.result("y", y);
      const auto dy = bench.normal({texts, length, dim});
      const auto dshare = bench.unset({texts, length});
      confidence_backward(bench.backend, p.flat(), y.rows(), dy.rows(), dp.flat());
      bench.result("dp", dp);
      smooth_backward(bench.backend, p, x, y, dy, dy, dshare);
      bench.result("dx", dy);
      bench.result("dshare", dshare);
    });
  }
}

}  // namespace strata
