// Dropout in whole models: where it acts, how much it drops, and that masks differ by layer, branch and seed.
#include <set>

#include <strata/reference.hpp>

#include "support/catch.hpp"
#include "support/models.hpp"

namespace {

using dropping = models::automatic_windows;  // has dropout everywhere

/// How often `count` draws of this probability come true, within four standard deviations.
auto about(double probability, std::size_t count) {
  return Approx(probability).margin(4 * std::sqrt(probability * (1 - probability) / static_cast<double>(count)));
}

double share_of(const std::vector<bool>& mask) {
  return static_cast<double>(std::count(mask.begin(), mask.end(), true)) / static_cast<double>(mask.size());
}

}  // namespace

TEST_CASE("every place drops its share, with a mask of its own") {
  constexpr strata::index_type batch = 4, tokens = 301;
  constexpr auto acts =
      strata::plan_activations<dropping::description>(dropping::losses.of_model(models::facts<dropping>::model), batch,
                                                      tokens, strata::activation_use::training, dropping::dropout);
  strata::reference<float> backend;
  models::training_model<dropping, strata::reference<float>> weights(backend, 1);
  strata::buffer<float> memory(acts.memory_size), scratch(acts.scratch_size);
  const auto ids = models::random_ids(batch, tokens, dropping::description.vocabulary, 1);
  strata::pass<strata::reference<float>> p{backend, batch,           tokens,           {weights.weights().data},
                                           {},      {memory.data()}, {scratch.data()}, {}};
  p.dropout_seed = 3;
  strata::rotary_tables<dropping::description, float>().upload_to(backend, acts, p.memory);
  strata::forward(p, acts, models::parameters<dropping>::layout.network, {ids.data(), {batch, tokens}}, true);

  // Dropped elements add nothing, or are 0, to the bit.
  std::vector<bool> dropped;
  const auto embeddings = p.memory[acts.tokens];
  for (strata::index_type n = 0; n < embeddings.size(); ++n) dropped.push_back(embeddings.data[n] == 0);
  CHECK(share_of(dropped) == about(dropping::dropout.embedding, dropped.size()));

  constexpr int l = 0;  // nothing is merged into it
  std::vector<std::vector<bool>> masks;
  for (const auto& layer : acts.layers) {
    const auto x = p.memory[layer.blocks[l].x], middle = p.memory[layer.blocks[l].middle],
               y = p.memory[layer.blocks[l].y];
    auto& attention = masks.emplace_back();
    for (strata::index_type n = 0; n < x.size(); ++n) attention.push_back(middle.data[n] == x.data[n]);
    CHECK(share_of(attention) == about(dropping::dropout.attention, attention.size()));
    auto& feed_forward = masks.emplace_back();
    for (strata::index_type n = 0; n < x.size(); ++n) feed_forward.push_back(y.data[n] == middle.data[n]);
    CHECK(share_of(feed_forward) == about(dropping::dropout.feed_forward, feed_forward.size()));
  }
  for (std::size_t one = 0; one < masks.size(); ++one)
    for (std::size_t other = 0; other < one; ++other) {
      std::vector<bool> both;
      for (std::size_t n = 0; n < masks[0].size(); ++n) both.push_back(masks[one][n] && masks[other][n]);
      CHECK(share_of(both) == about(share_of(masks[one]) * share_of(masks[other]), both.size()));
    }
  std::set<std::uint64_t> streams{acts.embedding_dropout.stream};
  for (const auto& layer : acts.layers)
    for (const auto& block : layer.blocks)
      streams.insert({block.attention.dropout.stream, block.feed_forward.dropout.stream});
  CHECK(streams.size() == 1 + 2 * dropping::description.depth * 3);
}

TEST_CASE("dropout is where a seed asks for it, and a function of the seed") {
  strata::reference<float> backend;
  models::training_model<dropping, strata::reference<float>> network(backend, 1);
  const auto ids = models::random_ids(2, 33, dropping::description.vocabulary, 1);
  const auto total = [&](strata::forward_options options = {}) {
    return network.losses({ids.data(), {2, 33}}, strata::loss_values(dropping::losses), options).total;
  };
  const double without = total();
  std::set<double> totals{without};
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40}) {
    totals.insert(total({.dropout_seed = seed}));
    CHECK(total({.dropout_seed = seed}) == total({.dropout_seed = seed}));
  }
  CHECK(totals.size() == 4);
  CHECK(total() == without);
  network.set_dropout({});
  CHECK(total({.dropout_seed = 1}) == without);
}
