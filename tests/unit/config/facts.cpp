// What follows from a description: windows, spans, positions, widths and the predicting level.
#include <vector>

#include <strata/config/facts.hpp>
#include <strata/config/rules.hpp>
#include <strata/io/description.hpp>
#include <strata/losses/losses.hpp>
#include <strata/merges/merges.hpp>

#include "support/catch.hpp"

using strata::facts;

namespace {

constexpr strata::description windows{.max_length = 100,
                                      .levels = {{.compression = 1, .dim = 8, .window = 99},
                                                 {.compression = 2, .stride = 2, .dim = 8, .window = 50},
                                                 {.compression = 4, .dim = 8, .window = 26},
                                                 {.compression = 8, .dim = 8},
                                                 {.compression = 16, .dim = 8, .window = 0},
                                                 {.compression = 32, .dim = 8, .window = strata::full_attention},
                                                 {.compression = 64, .dim = 8}}};

constexpr strata::description shared{.max_length = 100,
                                     .levels = {{.dim = 8, .window = 3},
                                                {.compression = 2, .dim = 8, .heads = 4},
                                                {.compression = 4, .dim = 8},
                                                {.compression = 8, .dim = 8, .window = 0},
                                                {.compression = 16, .dim = 8, .heads = 4},
                                                {.compression = 32, .dim = 8, .heads = 4, .head_dim = 32},
                                                {.compression = 64, .dim = 16}},
                                     .share_attention = true};

constexpr strata::description several{
    .levels = {
        {.compression = 8, .stride = 2, .dim = 24, .heads = 3, .head_dim = 10, .feed_forward_multiple = 2},
        {.compression = 2, .dim = 40, .heads = 1, .head_dim = 6, .routing = {.light_multiple = 2, .capacity = 0.5}},
        {.compression = 4, .stride = 4, .dim = 16}}};
constexpr auto into_all = strata::with(several, [](auto& d) { d.receiving_levels = {strata::every_level}; });
constexpr auto into_some = strata::with(several, [](auto& d) {
  d.receiving_levels = {2, strata::the_predicting_level};
});
constexpr auto from_all = strata::with(several, [](auto& d) { d.logits = strata::logits_source::all_levels; });

constexpr strata::description narrow_waist{
    .depth = 7, .levels = {{.compression = 4, .stride = 4, .dim = 40}, {.dim = 16, .before = 2, .after = 1}}};
constexpr auto attending_waist =
    strata::with(narrow_waist, [](auto& d) { d.levels[0].upsampling = strata::upsampling_kind::attention; });
constexpr strata::description nested{.depth = 9,
                                     .levels = {{.compression = 8, .stride = 8, .dim = 48},
                                                {.dim = 16, .before = 1, .after = 2},
                                                {.compression = 2, .stride = 2, .dim = 24, .before = 2, .after = 1}}};
constexpr auto attending_waist_without_attention =
    strata::with(attending_waist, [](auto& d) { d.levels[0].window = 0; });

constexpr strata::description pools{
    .levels = {{.dim = 8},
               {.compression = 4, .dim = 8},
               {.compression = 16, .dim = 8, .compressor = strata::compressor_kind::attention}}};
constexpr strata::description chosen{.levels = {{.dim = 8}, {.compression = 4, .dim = 20}}, .predicting_level = 1};

}  // namespace

TEST_CASE("description: names every option of a loss") {
  using strata::options_to_json;
  const nlohmann::json expected{{"distance", "squared_and_cosine"},
                                {"rollouts", 2},
                                {"rollout_decay", 1.0},
                                {"detach_summaries", true},
                                {"detach_targets", false}};
  CHECK(options_to_json(strata::next_latent{.rollouts = 2, .detach_targets = false}) == expected);
  CHECK(options_to_json(strata::sigmoid_contrastive{.detach_targets = true}) ==
        nlohmann::json{{"detach_targets", true}});
}

TEST_CASE("facts: windows") {
  constexpr auto& levels = facts<windows>::levels;
  const auto is = [&](int l, int span, bool full) {
    CAPTURE(l);
    CHECK(levels.at(static_cast<std::size_t>(l)).span == span);
    CHECK(levels.at(static_cast<std::size_t>(l)).full == full);
  };
  is(0, 100, false);  // 99 earlier positions and its own
  is(1, 51, false);   // as wide as the level is long: still a window
  is(2, 25, true);    // wider than 100 / 4: full attention
  is(3, 7, false);    // automatic: half of 100 / 8, rounded down
  is(4, 0, false);    // no attention
  is(5, 4, true);     // full: ceil(100 / 32)
  is(6, 2, false);    // automatic, but never less than one
}

TEST_CASE("facts: numbers of one level") {
  constexpr strata::level_facts first = facts<several>::levels[0];
  CHECK(first.compression == 8);
  CHECK(first.stride == 2);
  CHECK(first.dilation == 4);
  CHECK(first.attention_dim() == 30);
  CHECK(first.hidden == 48);
  CHECK(first.compressed());
  CHECK_FALSE(facts<chosen>::levels[0].compressed());
  CHECK_FALSE(first.routed());
  CHECK(first.heavy_hidden == 0);
  CHECK(facts<several>::levels[1].routed());
  CHECK(facts<several>::levels[1].hidden == 80);
  CHECK(facts<several>::levels[1].heavy_hidden == 160);
}

TEST_CASE("facts: which level's attention weights a level uses") {
  for (int l = 0; l < 7; ++l) {
    CAPTURE(l);
    CHECK(facts<windows>::levels.at(static_cast<std::size_t>(l)).attention_of == l);
    CHECK(facts<shared>::levels.at(static_cast<std::size_t>(l)).attention_of == (l == 2 ? 0 : (l == 4 ? 1 : l)));
  }
}

TEST_CASE("facts: positions are rounded up") {
  constexpr strata::level_facts strided = facts<several>::levels[2];
  CHECK(strided.positions(0) == 0);
  CHECK(strided.positions(1) == 1);
  CHECK(strided.positions(4) == 1);
  CHECK(strided.positions(5) == 2);
  CHECK(strided.positions(13) == 4);
  CHECK(facts<several>::levels[1].positions(13) == 13);
}

TEST_CASE("facts: widths of the model") {
  using F = facts<several>;
  CHECK(F::level_count == 3);
  CHECK(F::embedding_dim == 40);
  CHECK(F::concatenated_dim == 80);
  CHECK(F::levels[0].first_channel == 0);
  CHECK(F::levels[1].first_channel == 24);
  CHECK(F::levels[2].first_channel == 64);
  CHECK(F::largest_compression == 8);
  CHECK(facts<pools>::largest_compression == 4);  // of convolutions
  CHECK(facts<pools>::levels[2].pools);
  CHECK_FALSE(facts<pools>::levels[1].pools);
  CHECK(F::logits_dim == 40);
  CHECK(facts<into_all>::logits_dim == 40);
  CHECK(facts<from_all>::logits_dim == 80);
}

TEST_CASE("facts: the predicting level is the least compressed or the chosen one") {
  CHECK(facts<several>::predicting_level == 1);
  CHECK(facts<several>::predicting.dim == 40);
  CHECK(facts<chosen>::predicting_level == 1);
}

TEST_CASE("facts: the levels that merging adds to") {
  const auto receiving = [](const auto& levels) {
    std::vector<bool> receives;
    for (const strata::level_facts& level : levels) receives.push_back(level.receives);
    return receives;
  };
  CHECK(receiving(facts<several>::levels) == std::vector<bool>{false, true, false});
  CHECK(receiving(facts<into_all>::levels) == std::vector<bool>{true, true, true});
  CHECK(receiving(facts<into_some>::levels) == std::vector<bool>{false, true, true});
}

TEST_CASE("facts: how many coarse positions a token of an hourglass attends to") {
  CHECK(facts<narrow_waist>::levels[0].upsample_span == 0);
  CHECK(facts<attending_waist>::levels[0].upsample_span == facts<attending_waist>::levels[0].span);
  CHECK(facts<attending_waist>::levels[1].upsample_span == 0);
  CHECK(facts<attending_waist_without_attention>::levels[0].upsample_span == 1);
}

TEST_CASE("facts: which layers of an hourglass run on which level") {
  using F = facts<narrow_waist>;
  STATIC_REQUIRE(F::hourglass);
  STATIC_REQUIRE(!F::merges);
  CHECK(F::levels[0].from == 1);
  CHECK(F::levels[1].from == -1);
  CHECK(F::embedding_dim == 16);  // nothing wider is ever embedded
  CHECK(F::levels[0].linear_compression);
  CHECK(F::first_layer(0) == 2);
  CHECK(F::first_layer(1) == 0);
  CHECK(F::upsample_layer(0) == 6);
  CHECK(F::upsample_layer(1) == -1);
  CHECK(F::layers_of(0) == 4);
  CHECK(F::layers_of(1) == 3);
  for (int layer = 0; layer < 7; ++layer) {
    CAPTURE(layer);
    CHECK(F::runs(layer, 0) == (layer >= 2 && layer < 6));
    CHECK(F::runs(layer, 1) != F::runs(layer, 0));
    CHECK(facts<several>::runs(layer, 1));
  }
  STATIC_REQUIRE(facts<several>::merges);
  STATIC_REQUIRE(!facts<several>::levels[0].linear_compression);
}

TEST_CASE("facts: nested levels shorten the next finer one") {
  using F = facts<nested>;
  CHECK(F::embedding_dim == 16);
  const auto& all = F::levels;
  CHECK((all[0].from == 2 && all[1].from == -1 && all[2].from == 1));
  CHECK((all[0].shortens == 4 && all[1].shortens == 1 && all[2].shortens == 2));
  CHECK((all[0].source_stride == 4 && all[2].source_stride == 2));
  CHECK((F::source_dim(0) == 24 && F::source_dim(1) == 16 && F::source_dim(2) == 16));
  CHECK((F::first_layer(0) == 3 && F::first_layer(1) == 0 && F::first_layer(2) == 1));
  CHECK((F::upsample_layer(0) == 6 && F::upsample_layer(2) == 7));
  std::vector<int> level_of;
  for (int layer = 0; layer < 9; ++layer)
    for (int l = 0; l < 3; ++l)
      if (F::runs(layer, l)) level_of.push_back(l);
  CHECK(level_of == std::vector<int>{1, 2, 2, 0, 0, 0, 2, 1, 1});
  for (strata::index_type tokens = 1; tokens < 40; ++tokens)
    CHECK(all[0].positions_of_source(all[2].positions(tokens)) == all[0].positions(tokens));
}

TEST_CASE("facts: directions of attention between levels") {
  // Of the levels of compressions 8, 2 and 4, the last two receive.
  const auto seen_by = [](std::size_t receiver, strata::level_direction direction) {
    const strata::level_attention merge{.direction = direction, .model = facts<into_some>::model};
    std::vector<bool> seen;
    for (std::size_t l = 0; l < 3; ++l) seen.push_back(merge.attends(receiver, l));
    return seen;
  };
  using strata::level_direction;
  CHECK(seen_by(0, level_direction::all) == std::vector<bool>{false, false, false});
  CHECK(seen_by(1, level_direction::all) == std::vector<bool>{true, true, true});
  CHECK(seen_by(1, level_direction::coarser) == std::vector<bool>{true, false, true});
  CHECK(seen_by(2, level_direction::coarser) == std::vector<bool>{true, false, false});
  CHECK(seen_by(1, level_direction::finer) == std::vector<bool>{false, false, false});
  CHECK(seen_by(2, level_direction::finer) == std::vector<bool>{false, true, false});
}

TEST_CASE("facts: a description that keeps the rules") {
  STATIC_REQUIRE(strata::rules::check<windows>);
  STATIC_REQUIRE(strata::rules::check<shared>);
  STATIC_REQUIRE(strata::rules::check<narrow_waist>);
  STATIC_REQUIRE(strata::rules::check<several>);
  STATIC_REQUIRE(strata::rules::check<into_all>);
  STATIC_REQUIRE(strata::rules::check<into_some>);
  STATIC_REQUIRE(strata::rules::check<chosen>);
}
