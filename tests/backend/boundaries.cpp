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

}  // namespace strata
