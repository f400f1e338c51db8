// The model's own properties: shapes, refused input, inference equal to training, embeddings, seeds.
#include <algorithm>
#include <cmath>
#include <string>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/models.hpp"

using Catch::Matchers::ContainsSubstring;
using models::mixed;
using backend_type = strata::reference<float>;

TEST_CASE("passes of any shape, one after another") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(3, 70, 67, 1);
  const auto first = model.forward({ids.data(), {1, 20}});
  CHECK(first.shape == std::array<strata::index_type, 3>{1, 20, 67});
  const std::vector<float> before(first.data, first.data + first.size());
  CHECK(model.forward({ids.data(), {3, 70}}).shape == std::array<strata::index_type, 3>{3, 70, 67});
  CHECK(model.forward({ids.data(), {2, 1}}).shape == std::array<strata::index_type, 3>{2, 1, 67});
  const auto again = model.forward({ids.data(), {1, 20}});
  CHECK(std::equal(before.begin(), before.end(), again.data));
  CHECK(model.embeddings(2).shape == std::array<strata::index_type, 3>{1, 10, 17});
  CHECK(model.token_embeddings(3).shape == std::array<strata::index_type, 3>{1, 3, 13});
}

TEST_CASE("an inference model computes what a training model computes") {
  models::on_every_backend([](auto& backend) {
    using B = std::remove_reference_t<decltype(backend)>;
    models::training_model<mixed, B> training(backend, 5);
    models::inference_model<mixed, B> inference(backend, 5);
    const auto ids = models::random_ids(2, 45, 67, 1);
    const auto x = training.forward({ids.data(), {2, 45}}), y = inference.forward({ids.data(), {2, 45}});
    CHECK(std::equal(x.data, x.data + x.size(), y.data));
    for (int l = 0; l < 4; ++l) {
      const auto e = training.embeddings(l), f = inference.embeddings(l);
      CHECK(std::equal(e.data, e.data + e.size(), f.data));
      const auto t = training.token_embeddings(l), u = inference.token_embeddings(l);
      CHECK(std::equal(t.data, t.data + t.size(), u.data));
    }
    const auto of_training = training.losses({ids.data(), {2, 45}});
    const auto of_inference = inference.losses({ids.data(), {2, 45}});
    CHECK(of_training.values["cross_entropy"] == of_inference.total);  // it has no heads of other losses
  });
}

TEST_CASE("without merging, levels do not meet") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(1, 30, 67, 1);
  const auto merged = model.forward({ids.data(), {1, 30}});
  const std::vector<float> before(merged.data, merged.data + merged.size());
  const auto ablated = model.forward({ids.data(), {1, 30}}, {.merge = false});
  CHECK(!std::equal(before.begin(), before.end(), ablated.data));
}

TEST_CASE("a loss of weight 0 is neither computed nor learned from") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(2, 30, 67, 1);
  auto weights = strata::loss_values(mixed::losses);
  for (std::size_t j = 1; j < weights.count; ++j) weights[j] = 0;
  const auto report = model.accumulate_gradients({ids.data(), {2, 30}}, weights);
  CHECK(report.values["reconstruction"] == 0);
  CHECK(report.total == report.values["cross_entropy"]);
  const auto& entries = models::parameters<mixed>::entries();
  const auto of_network = static_cast<std::size_t>(models::parameters<mixed>::network_entries());
  for (std::size_t n = 0; n < entries.size(); ++n) {
    const bool of_another_loss = n >= of_network;
    const float* gradient = model.gradients().data + entries[n].offset;
    INFO(entries[n].name);
    CHECK(std::any_of(gradient, gradient + entries[n].size, [](float g) { return g != 0; }) == !of_another_loss);
  }
  CHECK_THAT(message_of([&] { weights["reconstructoin"] = 1; }), ContainsSubstring("'reconstructoin'"));
}

TEST_CASE("what follows the end of a row counts in no prediction of tokens") {
  models::on_every_backend([](auto& backend) {
    using B = std::remove_reference_t<decltype(backend)>;
    models::training_model<mixed, B> model(backend);
    const auto tokens = models::random_ids(1, 25, 67, 1);
    const auto gradient_of = [&](const char* loss, strata::index_type length, double& total) {
      auto weights = strata::loss_values(mixed::losses);
      for (std::size_t j = 0; j < weights.count; ++j) weights[j] = 0;
      weights[loss] = 1;
      auto ids = tokens;
      ids.resize(static_cast<std::size_t>(length), strata::no_token);
      model.clear_gradients();
      total = model.accumulate_gradients({ids.data(), {1, length}}, weights).total;
      const auto view = model.gradients();
      return std::vector<float>(view.data, view.data + view.size());
    };
    const auto compare = [&](const char* loss, strata::index_type length, strata::index_type longer) {
      CAPTURE(loss);
      double total = 0, longer_total = 0;
      const auto own = gradient_of(loss, length, total), of_longer = gradient_of(loss, longer, longer_total);
      CHECK(total > 1);
      CHECK(longer_total == Approx(total).epsilon(1e-5));
      float largest = 0, off = 0;
      for (std::size_t n = 0; n < own.size(); ++n) {
        largest = std::max(largest, std::abs(own[n]));
        off = std::max(off, std::abs(own[n] - of_longer[n]));
      }
      CHECK(off < 1e-5f * largest);
    };
    compare("cross_entropy", 25, 41);
    // The last positions of coarse levels see tokens, and reach beyond the end.
    for (const char* loss : {"prophet_tokens", "reconstruction"}) compare(loss, 41, 57);
  });
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  auto ids = models::random_ids(1, 9, 67, 1);
  ids[4] = strata::no_token;
  CHECK(message_of([&] {
          model.losses({ids.data(), {1, 9}});
        }) == "row 0 goes on after its end: token 5 follows no token");
  CHECK_THAT(message_of([&] { model.forward({ids.data(), {1, 9}}); }), ContainsSubstring("token id -1"));
}

TEST_CASE("gradients add up, scale and are cleared") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(2, 30, 67, 1);
  const auto weights = strata::loss_values(mixed::losses);
  model.accumulate_gradients({ids.data(), {2, 30}}, weights);
  const std::vector<float> once(model.gradients().data, model.gradients().data + model.gradients().size());
  model.accumulate_gradients({ids.data(), {2, 30}}, weights, {}, 0.5);
  double worst = 0, largest = 0;
  for (std::size_t n = 0; n < once.size(); ++n) {
    worst =
        std::max(worst, std::abs(static_cast<double>(model.gradients().data[n]) - 1.5 * static_cast<double>(once[n])));
    largest = std::max(largest, std::abs(static_cast<double>(once[n])));
  }
  CHECK(worst < 1e-5 * largest);
  model.clear_gradients();
  CHECK(std::all_of(model.gradients().data, model.gradients().data + model.gradients().size(),
                    [](float g) { return g == 0; }));
}

TEST_CASE("wrong calls of a model name what is wrong") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  CHECK_THAT(message_of([&] { model.embeddings(0); }), ContainsSubstring("before its first pass"));
  std::vector<strata::token> ids(40, 1);
  const auto run = [&](strata::index_type batch, strata::index_type length) {
    return message_of([&] { model.losses({ids.data(), {batch, length}}); });
  };
  CHECK_THAT(run(2, 1), ContainsSubstring("[2, 1]"));
  CHECK_THAT(run(0, 5), ContainsSubstring("positive batch"));
  ids[13] = 67;
  CHECK_THAT(run(2, 10), ContainsSubstring("token id 67 at row 1, position 3 is outside the vocabulary of 67"));
  ids[13] = -2;
  CHECK_THAT(run(2, 10), ContainsSubstring("token id -2"));
}

TEST_CASE("weights are a function of the seed and start as PyTorch's do") {
  backend_type backend;
  const models::training_model<mixed, backend_type> one(backend, 1), same(backend, 1), other(backend, 2);
  const auto size = one.weights().size();
  CHECK(std::equal(one.weights().data, one.weights().data + size, same.weights().data));
  CHECK(!std::equal(one.weights().data, one.weights().data + size, other.weights().data));
  for (const auto& entry : models::parameters<mixed>::entries()) {
    if (entry.name.ends_with("codebook.embed"))
      for (strata::index_type n = 0; n < entry.size; n += entry.shape.back()) {
        double squares = 0;
        for (strata::index_type k = 0; k < entry.shape.back(); ++k)
          squares += std::pow(static_cast<double>(one.weights()(entry.offset + n + k)), 2);
        CHECK(squares == Approx(1).epsilon(1e-6));
      }
    if (!entry.name.ends_with("to_qkv.weight")) continue;
    double largest = 0;
    for (strata::index_type n = 0; n < entry.size; ++n)
      largest = std::max(largest, std::abs(static_cast<double>(one.weights()(entry.offset + n))));
    const double bound = 1 / std::sqrt(static_cast<double>(entry.shape[1]));
    CHECK(largest <= bound);
    CHECK(largest > 0.95 * bound);
  }
}

TEST_CASE("a pass that does not fit in memory is refused and the model goes on") {
  backend_type backend;
  models::inference_model<mixed, backend_type> model(backend, 0);
  const auto ids = models::random_ids(1, 20, 67, 1);
  const auto logits = model.forward({ids.data(), {1, 20}});
  const std::vector<float> before(logits.data, logits.data + logits.size());
  CHECK_THAT(message_of([&] { model.reserve(strata::index_type{1} << 30, 1 << 6); }),
             ContainsSubstring("more than there is"));
  CHECK_THAT(message_of([&] { model.reserve(strata::index_type{1} << 60, 1 << 6); }),
             ContainsSubstring("at most 68719476736"));
  CHECK_THAT(message_of([&] { model.reserve(1, 1 << 24); }), ContainsSubstring("level 2 has 8388608 positions"));
  const auto again = model.forward({ids.data(), {1, 20}});
  CHECK(std::equal(before.begin(), before.end(), again.data));
}

TEST_CASE("options of losses that make no sense are refused by name, and change nothing") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto refused = [&](auto change) {
    auto losses = mixed::losses;
    change(losses);
    const std::string message = message_of([&] { model.set_losses(losses); });
    CHECK(message_of([&] {
            strata::transformer<mixed::description, backend_type, models::losses_of<mixed>>(backend, 0, losses);
          }) == message);
    return message;
  };
  const auto next_latent = [&](auto change) {
    return refused([&](auto& losses) { change(losses.template get<strata::next_latent>()); });
  };
  CHECK_THAT(next_latent([](auto& loss) { loss.rollouts = 0; }),
             ContainsSubstring("next_latent: rollouts must be positive, not 0"));
  CHECK_THAT(next_latent([](auto& loss) { loss.rollouts = 8; }),
             ContainsSubstring("8 rollouts are more than the next positions that level 3 has in 64 tokens"));
  for (const double decay : {-1.0, std::nan(""), 1e39})
    CHECK_THAT(next_latent([&](auto& loss) { loss.rollout_decay = decay; }),
               ContainsSubstring("next_latent: rollout_decay must be finite and not negative, but is "));
  for (const strata::token id : {-2, 67})
    CHECK_THAT(refused([&](auto& losses) { losses.ignore_index = id; }),
               ContainsSubstring("ignore_index " + std::to_string(id) + " is not a token of the vocabulary of 67"));
  for (const double weight : {-0.5, std::nan("")})
    CHECK_THAT(refused([&](auto& losses) { losses.weight("reconstruction") = weight; }),
               ContainsSubstring("the weight of loss 'reconstruction' must not be negative, but is "));
  for (const double weight : {1e300, 1e-50})
    CHECK_THAT(
        refused([&](auto& losses) { losses.weight("reconstruction") = weight; }),
        ContainsSubstring(strata::to_text("the weight of loss 'reconstruction' must fit a float, but is ", weight)));
  CHECK(model.chosen_losses().get<strata::next_latent>().rollouts == 2);
  CHECK(model.chosen_losses().ignore_index == strata::ignore_nothing);
}

TEST_CASE("rates of dropout that are no shares below 1 are refused by name") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  for (const double rate : {-0.1, 1.0, std::nan("")}) {
    const auto refused = [&](strata::dropout_rates rates) { return message_of([&] { model.set_dropout(rates); }); };
    CHECK_THAT(refused({.embedding = rate}), ContainsSubstring("dropout.embedding must be in [0, 1), not "));
    CHECK_THAT(refused({.attention = rate}), ContainsSubstring("dropout.attention must be in [0, 1), not "));
    CHECK_THAT(refused({.feed_forward = rate}), ContainsSubstring("dropout.feed_forward must be in [0, 1), not "));
  }
}

TEST_CASE("a loss counts as its weight says, and its options can change between passes") {
  backend_type backend;
  models::training_model<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(2, 30, 67, 1);
  const strata::view<const strata::token, 2> input{ids.data(), {2, 30}};
  const auto before = model.losses(input);
  auto losses = mixed::losses;
  losses.weight("reconstruction") = 2;
  losses.get<strata::next_latent>().rollouts = 1;
  model.set_losses(losses);
  const auto after = model.losses(input);
  CHECK(after.values["reconstruction"] == before.values["reconstruction"]);
  CHECK(after.values["next_latent"] != before.values["next_latent"]);
  double total = 0;
  const strata::loss_values weights(losses);
  for (std::size_t j = 0; j < weights.count; ++j) total += weights[j] * after.values[j];
  CHECK(after.total == total);
  CHECK(weights["reconstruction"] == 2);
}

TEST_CASE("a model for inference is of no use before it has weights") {
  backend_type backend;
  models::inference_model<mixed, backend_type> model(backend);
  const strata::token id = 3;
  CHECK_THAT(message_of([&] { model.forward({&id, {1, 1}}); }), ContainsSubstring("the model has no weights yet"));
  CHECK_THAT(message_of([&] { strata::generator writer(model); }), ContainsSubstring("the model has no weights yet"));
  model.initialise(0);
  CHECK(model.forward({&id, {1, 1}}).shape == std::array<strata::index_type, 3>{1, 1, 67});
}
