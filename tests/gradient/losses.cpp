// Losses against their formulas, computed from a model's embeddings. Where targets are detached, the gradient is that
// of the formula with the targets held fixed.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "gradient/differences.hpp"
#include "support/catch.hpp"
#include "support/model.hpp"

namespace strata {
namespace {

using row = std::vector<double>;
using rows = std::vector<row>;

/// Detaches targets, and whatever `next_latent` detaches by default.
struct detaching : models::defaults {
  static constexpr strata::description description{
      .vocabulary = 11,
      .max_length = 64,
      .depth = 1,
      .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .window = 2, .feed_forward_multiple = 1},
                 {.compression = 2, .dim = 3, .heads = 1, .head_dim = 2, .window = 0, .feed_forward_multiple = 1},
                 {.compression = 4,
                  .stride = 2,
                  .dim = 4,
                  .heads = 1,
                  .head_dim = 2,
                  .window = 0,
                  .feed_forward_multiple = 1}}};
  static constexpr strata::losses losses{sigmoid_contrastive{.detach_targets = true}, next_latent{.rollouts = 2}};
};
using model_type = models::training_model<detaching, exact>;
using F = models::facts<detaching>;
constexpr int level_count = F::level_count;
// More pairs at stride 1 than one block of `contrast_rows`.
constexpr index_type batch = 2, tokens_ = 37;

view<double, 1> weight(model_type& model, const std::string& name) {
  for (const parameter_entry& entry : models::parameters<detaching>::entries())
    if (entry.name == name) return model.weights().slice(entry.offset, entry.size);
  FAIL("no parameter " << name);
  return {};
}

/// The linear map `name`.weight, `name`.bias applied to a row.
row linear_map(model_type& model, const std::string& name, const row& x) {
  const auto matrix = weight(model, name + ".weight"), bias = weight(model, name + ".bias");
  row y(bias.data, bias.data + bias.size());
  for (std::size_t n = 0; n < y.size(); ++n)
    for (std::size_t k = 0; k < x.size(); ++k) y[n] += matrix.data[n * x.size() + k] * x[k];
  return y;
}

/// What a loss is computed from, text after text.
struct embeddings {
  std::array<rows, level_count> levels;
  rows tokens;
  embeddings(model_type& model, view<const token, 2> ids) {
    for (int l = 0; l < level_count; ++l) {
      const auto level = model.embeddings(l).rows();
      for (index_type r = 0; r < level.shape[0]; ++r)
        levels[static_cast<std::size_t>(l)].emplace_back(level[r].data, level[r].data + level.shape[1]);
    }
    const auto table = weight(model, "token_emb.weight").reshape<2>({F::vocabulary, 4});
    for (index_type r = 0; r < batch * tokens_; ++r) {
      const auto of_token = table[ids(r / tokens_, r % tokens_)];
      tokens.emplace_back(of_token.data, of_token.data + 4);
    }
  }
};

double cosine(const row& x, const row& y) { return dot(x, y) / std::sqrt(dot(x, x) * dot(y, y)); }

double contrast(model_type& model, const embeddings& live, const embeddings& held) {
  double loss = 0;
  for (int l = 1; l < level_count; ++l) {
    const std::string name = "to_contrastive_preds." + std::to_string(l);
    rows predictions, targets;
    const rows& own = live.levels[static_cast<std::size_t>(l)];
    const std::size_t positions = own.size() / batch;
    for (std::size_t r = 0; r < own.size(); ++r) {
      if (r % positions == positions - 1) continue;
      predictions.push_back(linear_map(model, name, own[r]));
      targets.push_back(held.levels[static_cast<std::size_t>(l)][r + 1]);
    }
    const double scale = std::exp(weight(model, name + ".log_scale")(0)), bias = weight(model, name + ".pair_bias")(0);
    double sum = 0;
    for (std::size_t i = 0; i < predictions.size(); ++i)
      for (std::size_t j = 0; j < targets.size(); ++j) {
        const double logit = scale * cosine(predictions[i], targets[j]) + bias;
        sum += std::log1p(std::exp(i == j ? -logit : logit));
      }
    loss += sum / static_cast<double>(predictions.size());
  }
  return loss;
}

/// The first call keeps the weight of every prediction, which is held fixed too.
struct latent {
  static constexpr int rollouts = detaching::losses.get<next_latent>().rollouts;
  std::vector<double> counts;

  double operator()(model_type& model, const embeddings& live, const embeddings& held) {
    const bool keeps = counts.empty();
    std::size_t next = 0;
    double loss = 0;
    for (int l = 0; l < level_count; ++l) {
      const level_facts& level = F::levels.at(static_cast<std::size_t>(l));
      const rows& own = live.levels[static_cast<std::size_t>(l)];
      const index_type positions = level.positions(tokens_), predicting = positions - rollouts;
      for (index_type r = 0; r < batch * positions; ++r) {
        if (r % positions >= predicting) continue;
        row z = own[static_cast<std::size_t>(r)];
        double lost = 0;
        for (int step = 1; step <= rollouts; ++step) {
          const row summary = summary_of(model, held, level, l, r / positions, r % positions + step);
          const row change = dynamics(model, l, z, summary);
          for (std::size_t d = 0; d < z.size(); ++d) z[d] += change[d];
          const row& target = held.levels[static_cast<std::size_t>(l)][static_cast<std::size_t>(r + step)];
          double distance = 0.9 * (1 - cosine(z, target));
          for (std::size_t d = 0; d < z.size(); ++d)
            distance += 0.1 * (z[d] - target[d]) * (z[d] - target[d]) / static_cast<double>(z.size());
          if (keeps) counts.push_back(std::exp(-lost) / rollouts);
          loss += counts[next++] * distance / static_cast<double>(batch * predicting);
          lost += distance;
        }
      }
    }
    return loss;
  }

  static row summary_of(model_type& model, const embeddings& held, const level_facts& level, int l, index_type text,
                        index_type position) {
    const index_type last = position * level.stride, first = std::max<index_type>(0, last - level.compression + 1);
    row mean(4);
    for (index_type t = first; t <= last; ++t)
      for (std::size_t d = 0; d < 4; ++d)
        mean[d] += held.tokens[static_cast<std::size_t>(text * tokens_ + t)][d] / static_cast<double>(last - first + 1);
    return level.dim == 4 ? mean : linear_map(model, "chunk_summarizers." + std::to_string(l) + ".proj", mean);
  }

  static row dynamics(model_type& model, int l, row x, const row& summary) {
    const std::string name = "latent_dynamics." + std::to_string(l) + ".net.";
    x.insert(x.end(), summary.begin(), summary.end());
    const double size = static_cast<double>(x.size());
    double mean = 0, variance = 0;
    for (const double value : x) mean += value / size;
    for (const double value : x) variance += (value - mean) * (value - mean) / size;
    const auto gain = weight(model, name + "0.weight"), bias = weight(model, name + "0.bias");
    for (std::size_t d = 0; d < x.size(); ++d)
      x[d] = (x[d] - mean) / std::sqrt(variance + 1e-5) * gain.data[d] + bias.data[d];
    for (const char* layer : {"1", "3"}) {
      x = linear_map(model, name + layer, x);
      for (double& value : x) value *= (1 + std::erf(value / std::sqrt(2.0))) / 2;
    }
    return linear_map(model, name + "5", x);
  }
};

/// Compares the loss `name` with `formula(model, live, held)`, and its gradient with differences of the formula.
template <class Formula>
void check_formula(const char* name, Formula formula) {
  exact backend;
  workbench<exact> bench(backend, 4);
  model_type model(backend, 1);
  for (index_type n = 0; n < model.weights().size(); ++n)
    model.weights()(n) += 0.1 * random_source(8).normal(0, static_cast<std::uint64_t>(n));
  const auto ids = bench.tokens(0, F::vocabulary - 1, {batch, tokens_ + 1});
  loss_values<models::losses_of<detaching>> weights;  // all zero
  weights[name] = 0.7;
  const double value = model.accumulate_gradients(ids, weights).values[name];
  const embeddings held(model, ids);
  CHECK(value == Approx(formula(model, held, held)).epsilon(1e-12));
  for (const parameter_entry& entry : models::parameters<detaching>::entries()) {
    CAPTURE(entry.name);
    const auto gradient = model.gradients().slice(entry.offset, entry.size);
    CHECK(difference_error(model.weights().slice(entry.offset, entry.size), gradient, [&] {
            model.losses(ids, {});
            return 0.7 * formula(model, embeddings(model, ids), held);
          }) < 10 * difference_tolerance);
  }
}

}  // namespace

TEST_CASE("sigmoid_contrastive is its formula") { check_formula("sigmoid_contrastive", contrast); }

TEST_CASE("next_latent is its formula") { check_formula("next_latent", latent()); }

}  // namespace strata
