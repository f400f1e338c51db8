// The model's own promises: shapes, refused input, inference equal to training, embeddings, seeds.
#include <algorithm>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/models.hpp"

using Catch::Matchers::ContainsSubstring;
using models::mixed;
using backend_type = strata::reference<float>;

TEST_CASE("passes of any shape, one after another") {
  backend_type backend;
  strata::transformer<mixed, backend_type> model(backend);
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
    strata::transformer<mixed, B> training(backend, 5);
    strata::transformer<mixed, B, strata::purpose::inference> inference(backend, 5);
    const auto ids = models::random_ids(2, 45, 67, 1);
    const auto x = training.forward({ids.data(), {2, 45}}), y = inference.forward({ids.data(), {2, 45}});
    CHECK(std::equal(x.data, x.data + x.size(), y.data));
    for (int l = 0; l < 4; ++l) {
      const auto e = training.embeddings(l), f = inference.embeddings(l);
      CHECK(std::equal(e.data, e.data + e.size(), f.data));
      const auto t = training.token_embeddings(l), u = inference.token_embeddings(l);
      CHECK(std::equal(t.data, t.data + t.size(), u.data));
    }
    const auto of_training = training.losses({ids.data(), {2, 45}}),
               of_inference = inference.losses({ids.data(), {2, 45}});
    CHECK(of_training.total == of_inference.total);
  });
}

TEST_CASE("without merging, levels do not meet") {
  backend_type backend;
  strata::transformer<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(1, 30, 67, 1);
  const auto merged = model.forward({ids.data(), {1, 30}});
  const std::vector<float> before(merged.data, merged.data + merged.size());
  const auto ablated = model.forward({ids.data(), {1, 30}}, {.merge = false});
  CHECK(!std::equal(before.begin(), before.end(), ablated.data));
}

TEST_CASE("a loss of weight 0 is neither computed nor learned from") {
  backend_type backend;
  strata::transformer<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(2, 30, 67, 1);
  auto weights = strata::loss_values<mixed>::default_weights();
  for (std::size_t j = 1; j < weights.count; ++j) weights[j] = 0;
  const auto report = model.accumulate_gradients({ids.data(), {2, 30}}, weights);
  CHECK(report.values["reconstruction"] == 0);
  CHECK(report.total == report.values["cross_entropy"]);
  const auto& entries = strata::parameters<mixed>::entries();
  for (std::size_t n = 0; n < entries.size(); ++n) {
    const bool of_another_loss = n >= models::entries_of_network<mixed>();
    const float* gradient = model.gradients().data + entries[n].offset;
    INFO(entries[n].name);
    CHECK(std::any_of(gradient, gradient + entries[n].size, [](float g) { return g != 0; }) == !of_another_loss);
  }
  CHECK_THAT(message_of([&] { weights["reconstructoin"] = 1; }), ContainsSubstring("'reconstructoin'"));
}

TEST_CASE("gradients add up, scale and are cleared") {
  backend_type backend;
  strata::transformer<mixed, backend_type> model(backend);
  const auto ids = models::random_ids(2, 30, 67, 1);
  const auto weights = strata::loss_values<mixed>::default_weights();
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
  strata::transformer<mixed, backend_type> model(backend);
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
  const strata::transformer<mixed, backend_type> one(backend, 1), same(backend, 1), other(backend, 2);
  const auto size = one.weights().size();
  CHECK(std::equal(one.weights().data, one.weights().data + size, same.weights().data));
  CHECK(!std::equal(one.weights().data, one.weights().data + size, other.weights().data));
  for (const auto& entry : strata::parameters<mixed>::entries()) {
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
  strata::transformer<mixed, backend_type, strata::purpose::inference> model(backend);
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
