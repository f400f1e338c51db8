// The gradient of whole models against central differences of their losses.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gradient/differences.hpp"
#include "support/models.hpp"

namespace strata {
namespace {

/// Strides that divide no length, a level without attention, a window of one, and every loss.
struct ragged : models::defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 32,
      .depth = 2,
      .levels = {
          {.dim = 6, .heads = 2, .head_dim = 2, .window = 3, .feed_forward_multiple = 2},
          {.compression = 4, .stride = 2, .dim = 5, .heads = 1, .head_dim = 4, .window = 1, .feed_forward_multiple = 1},
          {.compression = 8,
           .stride = 4,
           .dim = 4,
           .heads = 1,
           .head_dim = 2,
           .window = 0,
           .feed_forward_multiple = 2}}};
  static constexpr strata::losses losses{
      reconstruction{},
      level_autoregressive{},
      prophet_tokens{},
      basic_prophet_quantized<2, 5, 3>{},
      sigmoid_contrastive{},
      next_latent{.rollouts = 2, .rollout_decay = 0, .detach_summaries = false, .detach_targets = false}};
};

/// Full attention, the predicting level is not the first, and every level gives to the merge and receives it.
struct merge_into_all : models::defaults {
  static constexpr strata::description description{
      .vocabulary = 7,
      .max_length = 16,
      .depth = 2,
      .levels = {{.compression = 4, .stride = 4, .dim = 6, .heads = 1, .head_dim = 4, .window = full_attention},
                 {.dim = 4, .heads = 2, .head_dim = 4, .window = full_attention, .feed_forward_multiple = 2}},
      .receiving_levels = {every_level}};
};

/// One level: no compression, no merge.
struct single : models::defaults {
  static constexpr strata::description description{
      .vocabulary = 8,
      .max_length = 16,
      .depth = 2,
      .levels = {{.dim = 6, .heads = 2, .head_dim = 4, .window = full_attention}}};
};

/// Compares the gradient of every parameter that is learned, and names the tensors that have none.
template <class Model>
std::string tensors_without_gradient(forward_options options = {}) {
  exact backend;
  workbench<exact> bench(backend, 3);
  models::training_model<Model, exact> model(backend, 1);
  // Gains of exactly one and biases of exactly zero could hide a mistake.
  std::uint64_t counter = 0;  // in the order of the parameters, whatever their places
  for (const parameter_entry& entry : models::parameters<Model>::entries())
    for (index_type n = 0; n < entry.size; ++n)
      model.weights()(entry.offset + n) += 0.1 * random_source(8).normal(0, counter++);
  loss_values weights(Model::losses);
  for (std::size_t j = 1; j < weights.count; ++j)
    weights[j] = 0.5 + 0.1 * static_cast<double>(j);  // the defaults are small
  options.dropout_seed = 7;                           // differences need the same dropout masks
  const auto ids = bench.tokens(0, Model::description.vocabulary - 1, {2, 14});
  const auto losses = model.losses(ids, weights, options);
  const auto report = model.accumulate_gradients(ids, weights, options);
  CHECK(report.total == losses.total);
  for (std::size_t j = 0; j < weights.count; ++j) CHECK(report.values[j] == losses.values[j]);

  std::string without;
  for (const parameter_entry& entry : models::parameters<Model>::entries()) {
    CAPTURE(entry.name);
    std::vector<double> values = model.gradient_of(entry);
    const view<double, 1> gradient{values.data(), {entry.size}};
    if (entry.kind == strata::parameter_kind::constant) {
      CHECK(projection(gradient, gradient) == 0);
      continue;
    }
    // A short text has only the first offsets of an upsampling `by_offset`.
    const bool of_offset = strata::detail::matches("upsample.*.*.weight", entry.name);
    // Side by side, the final norms of other levels serve losses that such a model lacks.
    const bool of_loss = models::facts<Model>::follows_text && models::facts<Model>::merges &&
                         entry.name.starts_with("norms.") && !entry.name.starts_with("norms.0.");
    if (projection(gradient, gradient) == 0 && !of_offset && !of_loss) without += entry.name + "\n";
    // Learned boundaries have another gradient than that of the loss: see unit/model/learned_boundaries.cpp.
    if (models::facts<Model>::groups > 1) continue;
    // Ten times that of one operation: the smallest gradients are 1e-3, the loss 10.
    CHECK(difference_error(model.weights().slice(entry.offset, entry.size), gradient,
                           [&] { return model.losses(ids, weights, options).total; }) < 10 * difference_tolerance);
  }
  return without;
}

}  // namespace

TEST_CASE("gradient of a model with ragged strides") { CHECK(tensors_without_gradient<ragged>() == ""); }

TEST_CASE("gradient of a model that merges into all levels") {
  CHECK(tensors_without_gradient<merge_into_all>() == "");
}

TEMPLATE_TEST_CASE("gradient of a variant", "", STRATA_VARIANTS) { CHECK(tensors_without_gradient<TestType>() == ""); }

TEST_CASE("gradient of a model with one level") { CHECK(tensors_without_gradient<single>() == ""); }

TEST_CASE("gradient of a model without merging") {
  // Only the weights of the merge are not used.
  const std::string without = tensors_without_gradient<ragged>({.merge = false});
  CHECK(std::count(without.begin(), without.end(), '\n') == 2 * 5);
  CHECK_THAT(without, Catch::Matchers::ContainsSubstring("hierarchical_merges.0.net.0.gamma"));
  CHECK_THAT(without, Catch::Matchers::ContainsSubstring("hierarchical_merges.1.net.3.bias"));
}

TEST_CASE("gradients of a model accumulate, and scale") {
  exact backend;
  workbench<exact> bench(backend);
  models::training_model<ragged, exact> model(backend, 1);
  const auto ids = bench.tokens(0, ragged::description.vocabulary - 1, {2, 14});
  const loss_values weights(ragged::losses);
  model.accumulate_gradients(ids);
  std::vector<double> expected = bench.read(model.gradients());
  model.accumulate_gradients(ids, weights, {}, 2.5);
  for (double& value : expected) value *= 3.5;
  CHECK(relative_error(bench.read(model.gradients()), expected) < 1e-12);
  model.clear_gradients();
  CHECK(bench.read(model.gradients()) == std::vector<double>(expected.size(), 0));
}

TEST_CASE("a loss of weight zero is not computed and gives no gradient") {
  exact backend;
  workbench<exact> bench(backend);
  models::training_model<ragged, exact> model(backend, 1);
  const auto ids = bench.tokens(0, ragged::description.vocabulary - 1, {2, 14});
  loss_values<models::losses_of<ragged>> weights;  // all zero
  weights["cross_entropy"] = 2;
  const auto report = model.accumulate_gradients(ids, weights);
  CHECK(report.total == 2 * report.values["cross_entropy"]);
  for (std::size_t j = 1; j < weights.count; ++j) CHECK(report.values[j] == 0);
  const auto& entries = models::parameters<ragged>::entries();
  const auto of_network = static_cast<std::size_t>(models::parameters<ragged>::network_entries());
  REQUIRE(of_network < entries.size());
  for (std::size_t n = of_network; n < entries.size(); ++n) {
    CAPTURE(entries[n].name);
    const auto gradient = bench.read(model.gradients().slice(entries[n].offset, entries[n].size));
    CHECK(dot(gradient, gradient) == 0);
  }
}

TEST_CASE("prophet_quantized predicts the codes of the next index") {
  using of = models::automatic_windows;
  using loss = of::quantized;
  exact backend;
  workbench<exact> bench(backend, 3);
  models::training_model<of, exact> model(backend, 1);
  const double reported = model.losses(bench.tokens(0, 10, {2, 14})).values["prophet_quantized"];
  const tensor_memory<const double> weights{model.weights().data};
  double expected = 0;
  index_type ignored = 0;
  for (const std::size_t l : {1u, 2u}) {
    const auto& own = std::get<loss::parameters>(models::parameters<of>::layout.losses)[l];
    const auto embedding = model.embeddings(static_cast<int>(l));
    const auto [batch, positions, dim] = embedding.shape;
    const index_type sequences = models::facts<of>::levels[l].dilation;
    REQUIRE(positions % sequences != 0);
    const auto codes = bench.tokens(0, 0, {batch, positions, loss::books});
    quantize(backend, embedding, weights[own.projections], weights[own.codebooks], codes);
    const auto logits = bench.unset({batch * positions, loss::books * loss::codes});
    linear(backend, embedding.rows(), weights[own.head], {}, logits, update::replace);
    double total = 0;
    index_type counted = 0;
    for (index_type b = 0; b < batch; ++b)
      for (index_type i = 0; i + sequences < positions / sequences * sequences; ++i)
        for (index_type book = 0; book < loss::books; ++book) {
          const token code = codes(b, i + sequences, book);
          if (code == of::losses.ignore_index && ++ignored) continue;
          const double* block = &logits(b * positions + i, book * loss::codes);
          double sum = 0;
          for (index_type c = 0; c < loss::codes; ++c) sum += std::exp(block[c] - block[code]);
          total += std::log(sum);
          ++counted;
        }
    expected += total / static_cast<double>(counted);
  }
  CHECK(ignored > 0);
  CHECK(reported == Approx(expected).epsilon(1e-12));
}

}  // namespace strata
