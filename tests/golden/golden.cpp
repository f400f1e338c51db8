// Every golden file against every backend: logits, embeddings, losses and each gradient of the reference package.
// How the files were made: tests/golden/README.md.
#include <string>
#include <vector>

#include <strata/cpu.hpp>
#include <strata/reference.hpp>

#include "cases.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

constexpr double value_tolerance = 1e-5, gradient_tolerance = 1e-4;

template <class S, int Rank>
void check_tensor(const strata::safetensors_file& file, const std::string& name, strata::view<S, Rank> actual) {
  INFO(name);
  REQUIRE(std::vector<strata::index>(actual.shape.begin(), actual.shape.end()) == file.entry(name).shape);
  CHECK(relative_error({actual.data, actual.data + actual.size()}, file.values<double>(name)) < value_tolerance);
}

/// The codes of level `l`. A model does not show what it quantises, but the norm of it: without its gain and bias that is the
/// same up to a factor and a shift, on which no code depends.
template <class Model>
void check_codes(const strata::safetensors_file& file, const Model& model, int l) {
  using S = typename Model::scalar;
  const std::string level = std::to_string(l), norm = "param.post_token_emb_norms." + level;
  const std::string quantizer = "buffer.rand_proj_quantizers." + level;
  const auto normed = model.token_embeddings(l);
  const auto gain = file.values<S>(norm + ".weight"), bias = file.values<S>(norm + ".bias");
  std::vector<S> x(normed.data, normed.data + normed.size());
  for (std::size_t n = 0; n < x.size(); ++n) x[n] = (x[n] - bias[n % bias.size()]) / gain[n % gain.size()];
  const auto shape = [&](const std::string& name) {
    const auto& extents = file.entry(name).shape;
    return std::array<strata::index, 3>{extents.at(0), extents.at(1), extents.at(2)};
  };
  const std::string projections = quantizer + ".rand_projs", codebooks = quantizer + ".vq._codebook.embed";
  const auto projection_values = file.values<S>(projections), codebook_values = file.values<S>(codebooks);
  const auto expected = file.values<strata::token>("quantized." + level);
  std::vector<strata::token> codes(expected.size());
  quantize(model.backend(), {x.data(), normed.shape}, {projection_values.data(), shape(projections)},
           {codebook_values.data(), shape(codebooks)}, {codes.data(), shape("quantized." + level)});
  INFO("codes of level " << l);
  CHECK(codes == expected);
}

template <class Config, class Backend>
void check_golden(Backend& backend) {
  using S = typename Backend::scalar;
  using F = strata::facts<Config>;
  INFO(Config::name);
  const strata::safetensors_file file =
      strata::safetensors_file::read(std::string(STRATA_GOLDEN_DATA "/") + Config::name + ".safetensors");
  strata::transformer<Config, Backend> model(backend);
  std::vector<S> weights(static_cast<std::size_t>(strata::parameters<Config>::buffer_size));
  for (const auto& entry : strata::parameters<Config>::entries())
    file.copy_to(
        (entry.frozen ? "buffer." : "param.") + entry.name,
        std::span<S>(weights).subspan(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.size)),
        std::span<const strata::index>(entry.shape));
  strata::set_weights(model, weights);

  const auto& shape = file.entry("ids").shape;
  const std::vector<strata::token> ids = file.values<strata::token>("ids");
  const strata::view<const strata::token, 2> with_labels{ids.data(), {shape[0], shape[1]}};
  std::vector<strata::token> inputs;
  for (strata::index b = 0; b < shape[0]; ++b)
    for (strata::index t = 0; t + 1 < shape[1]; ++t) inputs.push_back(with_labels(b, t));
  const strata::view<const strata::token, 2> without_labels{inputs.data(), {shape[0], shape[1] - 1}};

  if (file.contains("logits.ablate_merge"))
    check_tensor(file, "logits.ablate_merge", model.forward(without_labels, {.merge = false}));
  check_tensor(file, "logits", model.forward(without_labels));
  for (int l = 0; l < F::level_count; ++l) {
    check_tensor(file, "token_embed." + std::to_string(l), model.token_embeddings(l));
    check_tensor(file, "embed." + std::to_string(l), model.embeddings(l));
    if (file.contains("quantized." + std::to_string(l))) check_codes(file, model, l);
  }

  const auto report = model.accumulate_gradients(with_labels);
  CHECK(report.total == Approx(file.values<double>("loss.total")[0]).epsilon(value_tolerance));
  for (std::size_t j = 0; j < strata::loss_values<Config>::count; ++j) {
    const std::string name(strata::loss_values<Config>::names[j]);
    INFO(name);
    // The reference has one prophet loss, of tokens or of codes.
    const std::string stored = name.starts_with("prophet") ? "prophet" : name;
    CHECK(report.values[j] == Approx(file.values<double>("loss." + stored)[0]).epsilon(value_tolerance));
  }
  std::size_t gradients = 0;
  for (const auto& entry : file.entries()) gradients += entry.name.starts_with("grad.");
  for (const auto& entry : strata::parameters<Config>::entries()) {
    if (entry.frozen) continue;
    --gradients;
    INFO("gradient of " << entry.name);
    const S* gradient = model.gradients().data + entry.offset;
    CHECK(relative_error({gradient, gradient + entry.size}, file.values<double>("grad." + entry.name)) <
          gradient_tolerance);
  }
  CHECK(gradients == 0);
}

}  // namespace

TEMPLATE_TEST_CASE("golden on the reference backend", "", STRATA_GOLDEN_CASES) {
  strata::reference<double> in_double;
  check_golden<TestType>(in_double);
  strata::reference<float> in_float;
  check_golden<TestType>(in_float);
}

TEMPLATE_TEST_CASE("golden on the cpu backend", "", STRATA_GOLDEN_CASES) {
  for (const auto provider : {strata::product_provider::eigen, strata::product_provider::automatic})
    for (const int threads : {1, 2}) {
      strata::cpu backend({.threads = threads, .products = provider});
      check_golden<TestType>(backend);
    }
}
