// Compares one golden file with a backend: logits, embeddings, losses and each gradient of the reference package.
// tests/golden/README.md says how the files were made.
#pragma once

#include <string>
#include <vector>

#include <strata/io/weights.hpp>

#include "golden/cases.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace golden {

inline constexpr double value_tolerance = 1e-5, gradient_tolerance = 1e-4;

template <class Backend, class S, int Rank>
void check_tensor(workbench<Backend>& bench, const strata::safetensors_file& file, const std::string& name,
                  strata::view<S, Rank> actual) {
  INFO(name);
  REQUIRE(std::vector<strata::index_type>(actual.shape.begin(), actual.shape.end()) == file.entry(name).shape);
  CHECK(relative_error(bench.read(actual), file.values<double>(name)) < value_tolerance);
}

/// The codes of level `l`. A model does not show the tensor it quantises, only its norm. Without gain and bias the norm
/// is that tensor up to a factor and a shift, which change no code.
template <class Backend, class Model>
void check_codes(workbench<Backend>& bench, const strata::safetensors_file& file, const Model& model, int l) {
  const std::string level = std::to_string(l), norm = "param.post_token_emb_norms." + level;
  const std::string quantizer = "buffer.rand_proj_quantizers." + level;
  const auto normed = model.token_embeddings(l);
  const auto gain = file.values<double>(norm + ".weight"), bias = file.values<double>(norm + ".bias");
  std::vector<double> x = bench.read(normed);
  for (std::size_t n = 0; n < x.size(); ++n) x[n] = (x[n] - bias[n % bias.size()]) / gain[n % gain.size()];
  const auto tensor = [&](const std::string& name) {
    const auto& extents = file.entry(name).shape;
    return bench.of(file.values<double>(name), {extents.at(0), extents.at(1), extents.at(2)});
  };
  const auto expected = file.values<strata::token>("quantized." + level);
  const auto& extents = file.entry("quantized." + level).shape;
  const auto codes =
      bench.tokens_of(std::vector<strata::token>(expected.size()), {extents.at(0), extents.at(1), extents.at(2)});
  quantize(bench.backend, bench.of(x, {normed.shape[0], normed.shape[1], normed.shape[2]}),
           tensor(quantizer + ".rand_projs"), tensor(quantizer + ".vq._codebook.embed"), codes);
  INFO("codes of level " << l);
  CHECK(bench.read(codes) == std::vector<double>(expected.begin(), expected.end()));
}

template <class Model, class Backend>
void check(Backend& backend) {
  using S = typename Backend::scalar;
  using F = models::facts<Model>;
  using parameters = models::parameters<Model>;
  INFO(Model::name);
  workbench<Backend> bench(backend);
  const strata::safetensors_file file =
      strata::safetensors_file::read(std::string(STRATA_GOLDEN_DATA "/") + Model::name + ".safetensors");
  models::training_model<Model, Backend> model(backend);
  std::vector<S> weights(static_cast<std::size_t>(parameters::buffer_size));
  for (const auto& entry : parameters::entries())
    file.copy_to(
        (entry.kind == strata::parameter_kind::constant ? "buffer." : "param.") + entry.name,
        std::span<S>(weights).subspan(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.size)),
        std::span<const strata::index_type>(entry.shape));
  strata::set_weights(model, weights);

  const auto& shape = file.entry("ids").shape;
  const std::vector<strata::token> ids = file.values<strata::token>("ids");
  const strata::view<const strata::token, 2> with_labels{ids.data(), {shape[0], shape[1]}};
  std::vector<strata::token> inputs;
  for (strata::index_type b = 0; b < shape[0]; ++b)
    for (strata::index_type t = 0; t + 1 < shape[1]; ++t) inputs.push_back(with_labels(b, t));
  const strata::view<const strata::token, 2> without_labels{inputs.data(), {shape[0], shape[1] - 1}};

  if (file.contains("logits.ablate_merge"))
    check_tensor(bench, file, "logits.ablate_merge", model.forward(without_labels, {.merge = false}));
  check_tensor(bench, file, "logits", model.forward(without_labels));
  for (int l = 0; l < F::level_count; ++l) {
    check_tensor(bench, file, "token_embed." + std::to_string(l), model.token_embeddings(l));
    check_tensor(bench, file, "embed." + std::to_string(l), model.embeddings(l));
    if (file.contains("quantized." + std::to_string(l))) check_codes(bench, file, model, l);
  }

  const auto report = model.accumulate_gradients(with_labels);
  CHECK(report.total == Approx(file.values<double>("loss.total")[0]).epsilon(value_tolerance));
  for (std::size_t j = 0; j < report.values.count; ++j) {
    const std::string name(report.values.names[j]);
    INFO(name);
    // The reference has one prophet loss, of tokens or of codes.
    const std::string stored = name.starts_with("prophet") ? "prophet" : name;
    CHECK(report.values[j] == Approx(file.values<double>("loss." + stored)[0]).epsilon(value_tolerance));
  }
  std::size_t gradients = 0;
  for (const auto& entry : file.entries()) gradients += entry.name.starts_with("grad.");
  for (const auto& entry : parameters::entries()) {
    if (entry.kind == strata::parameter_kind::constant) continue;
    --gradients;
    INFO("gradient of " << entry.name);
    CHECK(relative_error(bench.read(model.gradients().slice(entry.offset, entry.size)),
                         file.values<double>("grad." + entry.name)) < gradient_tolerance);
  }
  CHECK(gradients == 0);
}

}  // namespace golden
