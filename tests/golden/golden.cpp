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

template <class Config, class Backend>
void check_golden(Backend& backend) {
  using S = typename Backend::scalar;
  using F = strata::facts<Config>;
  INFO(Config::name);
  const strata::safetensors_file file =
      strata::safetensors_file::read(std::string(STRATA_GOLDEN_DATA "/") + Config::name + ".safetensors");
  strata::transformer<Config, Backend> model(backend);
  strata::set_weights(model, strata::read_parameters<Config, S>(file, "param."));

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
  CHECK(gradients == strata::parameters<Config>::entries().size());
  for (const auto& entry : strata::parameters<Config>::entries()) {
    INFO("gradient of " << entry.name);
    const S* gradient = model.gradients().data + entry.offset;
    CHECK(relative_error({gradient, gradient + entry.size}, file.values<double>("grad." + entry.name)) <
          gradient_tolerance);
  }
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
