// Descriptions as JSON and as C++, the differences between two, and the texts of version 0.1.
#include <fstream>
#include <string>

#include <strata/strata.hpp>

#include "package/consumer/parts.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"

namespace strata::of_descriptions {
namespace {

using nlohmann::json;

constexpr description plain{.max_length = 64,
                            .depth = 2,
                            .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
                                       {.compression = 4, .stride = 2, .dim = 24, .heads = 3, .head_dim = 8}}};

/// No field has its default.
constexpr basic_description<level_attention> unusual{
    .vocabulary = 31,
    .max_length = 48,
    .depth = 3,
    .merge = {.window = 5, .heads = 3, .head_dim = 6, .direction = level_direction::coarser},
    .levels = {{.compression = 8,
                .stride = 4,
                .dim = 10,
                .heads = 2,
                .head_dim = 4,
                .window = full_attention,
                .feed_forward_multiple = 3,
                .routing = {.light_multiple = 2, .capacity = 0.375},
                .compressor = compressor_kind::attention},
               {.dim = 12, .heads = 1, .head_dim = 6, .window = 0}},
    .predicting_level = 1,
    .receiving_levels = {1, 0},
    .logits = logits_source::all_levels,
    .share_attention = true};

std::string read_error(const char* text) {
  return message_of([&] { description_from_json(parse_json(text, "file"), "file"); });
}

}  // namespace

TEST_CASE("a description comes back from its JSON") {
  CHECK(to_json(description_from_json(to_json(plain))) == to_json(plain));
  const auto back = description_from_json<basic_description<level_attention>>(to_json(unusual));
  CHECK(to_json(back) == to_json(unusual));
  CHECK(back.merge.direction == level_direction::coarser);
  CHECK(back.levels[0] == unusual.levels[0]);
  CHECK(difference(back, unusual) == "");
  constexpr description hourglass{
      .depth = 5,
      .levels = {{.dim = 16, .before = 1, .after = 2},
                 {.compression = 4, .stride = 4, .dim = 24, .upsampling = upsampling_kind::attention}}};
  const json object = to_json(hourglass);
  CHECK(to_json(description_from_json(object)) == object);
  // Older files say it for both levels together.
  json older = object;
  for (json& each : older["levels"])
    for (const char* key : {"before", "after", "upsampling"}) each.erase(key);
  older["fine_layers"] = {{"before", 1}, {"after", 2}, {"upsampling", "attention"}};
  CHECK(to_json(description_from_json(older)) == object);
}

TEST_CASE("the JSON of a description has words where numbers have a meaning of their own") {
  const json object = to_json(plain);
  CHECK(object["levels"][0]["window"] == 8);
  CHECK(object["levels"][1]["window"] == "automatic");
  CHECK(object["receiving_levels"] == json::array({"predicting"}));
  CHECK(object["predicting_level"] == "least_compressed");
  CHECK(object["merge"] == json{{"name", "concatenate"}});
  CHECK(to_json(unusual)["levels"][0]["window"] == "full");
}

TEST_CASE("a description is read with defaults for missing keys, and unknown keys are ignored") {
  const auto own = description_from_json(
      parse_json(R"({"levels": [{"dim": 32, "colour": "red"}], "from the future": [1, 2], "depth": 2})", "file"));
  CHECK(own.levels.size() == 1);
  CHECK(own.levels[0].dim == 32);
  CHECK(own.levels[0].heads == level().heads);
  CHECK(own.depth == 2);
  CHECK(own.max_length == description().max_length);
}

TEST_CASE("a damaged description is an error that names the key and the value") {
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 1.5}]})"), {"file: level 0", "\"dim\"", "1.5"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 32}, {"dim": -4}]})"), {"level 1", "dim", "-4"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 9000000000}]})"), {"dim", "9000000000"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 2147483647}]})"), {"dim", "2147483647"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 8, "window": "wide"}]})"), {"window", "wide", "automatic"}) == "");
  for (const char* key : {"compression", "stride"})
    CHECK(missing_in(read_error(to_text(R"({"levels": [{"dim": 8, ")", key, R"(": 0}]})").c_str()),
                     {"level 0", key, "is 0", "from 1 to"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 8, "routing": {"capacity": 1e-50}}]})"),
                   {"routing", "capacity", "1e-50", "float"}) == "");
  CHECK(missing_in(read_error(R"({"levels": []})"), {"levels", "1 to 8"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 8}], "max_length": 0})"), {"max_length", "0"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 8}], "logits": 3})"), {"logits", "3", "all_levels"}) == "");
  CHECK(missing_in(read_error(R"({"levels": [{"dim": 8}], "share_attention": 1})"), {"share_attention", "true"}) == "");
  CHECK(missing_in(read_error(R"([1])"), {"file", "object"}) == "");
  CHECK(missing_in(read_error(R"({"merge": {"name": "mine::sum"}})"), {"mine::sum", "concatenate"}) == "");
}

TEST_CASE("a description is printed as C++ to paste") {
  CHECK(to_cpp(to_json(plain)) ==
        R"(inline constexpr strata::description model{
    .max_length = 64,
    .depth = 2,
    .levels = {{.dim = 16, .heads = 2, .head_dim = 8, .window = 8},
               {.compression = 4, .stride = 2, .dim = 24, .heads = 3, .head_dim = 8}}};
)");
  CHECK(to_cpp(to_json(unusual)) ==
        R"(inline constexpr strata::basic_description<strata::level_attention> model{
    .vocabulary = 31,
    .max_length = 48,
    .depth = 3,
    .merge = strata::with(strata::level_attention{}, [](auto& m) { m.direction = decltype(m.direction)::coarser; m.head_dim = 6; m.heads = 3; m.window = 5; }),
    .levels = {{.compression = 8, .stride = 4, .dim = 10, .heads = 2, .head_dim = 4, .window = strata::full_attention, .feed_forward_multiple = 3, .routing = {.light_multiple = 2, .capacity = 0.375}, .compressor = strata::compressor_kind::attention},
               {.dim = 12, .heads = 1, .head_dim = 6, .window = 0}},
    .predicting_level = 1,
    .receiving_levels = {1, 0},
    .logits = strata::logits_source::all_levels,
    .share_attention = true};
)");
  // What is printed above, pasted.
  constexpr basic_description<strata::level_attention> pasted = with(unusual, [](auto& d) {
    d.merge = strata::with(strata::level_attention{}, [](auto& m) {
      m.direction = decltype(m.direction)::coarser;
      m.head_dim = 6;
      m.heads = 3;
      m.window = 5;
    });
  });
  CHECK(to_json(pasted) == to_json(unusual));
}

TEST_CASE("a merge of the user's own is printed so that it has the same options") {
  constexpr basic_description<mine::linear_merge> own =
      with_merge(plain, strata::with(mine::linear_merge{}, [](auto& m) { m.bias = false; }));
  CHECK(missing_in(to_cpp(to_json(own)),
                   {"strata::basic_description<mine::linear_merge> model",
                    ".merge = strata::with(mine::linear_merge{}, [](auto& m) { m.bias = false; })"}) == "");
  // This program need not know the merge.
  const auto printed = [](const json& merge) {
    json object = to_json(plain);
    object["merge"] = merge;
    return to_cpp(object);
  };
  CHECK(missing_in(printed({{"name", "mine::sum"}, {"share", 0.5}, {"big", 18446744073709551615u}}),
                   {"strata::basic_description<mine::sum>", "m.share = 0.5;", "m.big = 18446744073709551615u;"}) == "");
  const auto refused = [&](const json& merge) { return message_of([&] { printed(merge); }); };
  CHECK(missing_in(refused({{"name", "mine; int x"}}), {"the name of the merge is \"mine; int x\""}) == "");
  CHECK(missing_in(refused({{"name", ""}}), {"the name of the merge is empty"}) == "");
  CHECK(missing_in(refused({{"name", "mine::sum"}, {"a b", 1}}), {"an option of the merge is \"a b\""}) == "");
  CHECK(missing_in(refused({{"name", "mine::sum"}, {"kind", "a\xff"}}), {"the option kind of the merge is"}) == "");
  CHECK(missing_in(refused({{"name", "mine::sum"}, {"sizes", json::array()}}), {"the option sizes", "array"}) == "");
}

TEST_CASE("what is no description is not printed as C++") {
  CHECK(missing_in(message_of([] { to_cpp(json(5)); }), {"description: must be a JSON object, but is 5"}) == "");
}

TEST_CASE("descriptions differ where the network does") {
  const auto changed = [](auto change) { return difference(with(plain, change), plain); };
  CHECK(changed([](auto&) {}) == "");
  CHECK(changed([](auto& d) { d.levels[0].window = 9; }) == "level 0: window is 9 in the file, but 8 in the model");
  CHECK(changed([](auto& d) { d.levels[1].dim = 32; }) == "level 1: dim is 32 in the file, but 24 in the model");
  CHECK(changed([](auto& d) { d.depth = 3; }) == "depth is 3 in the file, but 2 in the model");
  CHECK(changed([](auto& d) { d.receiving_levels = {every_level}; }) ==
        "whether level 1 receives the merge is 1 in the file, but 0 in the model");
  CHECK(changed([](auto& d) { d.levels[1].window = 8; }) == "");    // equals the automatic window
  CHECK(changed([](auto& d) { d.predicting_level = 0; }) == "");    // the least compressed level
  CHECK(changed([](auto& d) { d.receiving_levels = {0}; }) == "");  // the predicting level
  CHECK(changed([](auto& d) { d.levels[0].window = 65; }) ==        // longer than the sequence
        "level 0: window is full in the file, but 8 in the model");
  CHECK(changed([](auto& d) { d.max_length = 128; }) ==  // an automatic window follows it
        "level 1: window is 16 in the file, but 8 in the model");

  constexpr description routed = with(plain, [](auto& d) { d.levels[0].routing.capacity = 1.0 / 3; });
  CHECK(difference(with(routed, [](auto& d) { d.levels[0].routing.capacity = 0.333333; }), routed) ==
        "level 0: routing.capacity is 0.333333 in the file, but 0.3333333333333333 in the model");

  constexpr description numbers = with(plain, [](auto& d) { d.levels[1].window = 8; });
  constexpr description full = with(plain, [](auto& d) { d.levels[1].window = full_attention; });
  CHECK(difference(with(numbers, [](auto& d) { d.max_length = 128; }), numbers) == "");
  CHECK(difference(with(full, [](auto& d) { d.max_length = 128; }), full) ==
        "level 1: attention is full, and max_length is 128 in the file, but 64 in the model");
  CHECK(missing_in(difference(with(unusual, [](auto& d) { d.merge.window = 6; }), unusual),
                   {"options of the merge", "\"window\":6", "\"window\":5"}) == "");
}

TEST_CASE("every description that version 0.1 wrote is read") {
  std::ifstream texts(STRATA_GOLDEN_DATA "/version_0_1_descriptions.txt");
  int count = 0;
  for (std::string line; std::getline(texts, line); ++count) {
    INFO(line);
    const description_of_0_1 old = read_description_of_0_1(line, "file");
    json without_merge = old.description;
    without_merge.erase("merge");
    const description own = description_from_json(without_merge, "file");
    CHECK(to_text("vocabulary ", own.vocabulary, ", max_length ", own.max_length, ", depth ", own.depth) ==
          line.substr(0, line.find(", predicting")));
    const auto levels = derived::levels(own);
    std::string rebuilt;
    for (std::size_t l = 0; l < static_cast<std::size_t>(own.levels.size()); ++l) {
      const level_facts& level = levels[l];
      rebuilt += to_text("; compression ", level.compression, ", stride ", level.stride, ", dim ", level.dim,
                         ", heads ", level.heads, "x", level.head_dim, ", window ");
      rebuilt += level.full ? "full" : std::to_string(level.span == 0 ? 0 : level.span - 1);
      rebuilt += to_text(", hidden ", level.hidden);
      if (level.pools) rebuilt += ", compressor attention";
      if (level.routed()) rebuilt += to_text(", routed hidden ", level.heavy_hidden, ", capacity ", level.capacity);
    }
    CHECK(line.find(rebuilt) != line.npos);
  }
  CHECK(count == 21);
}

TEST_CASE("texts of version 0.1 keep the options of merges, losses and dropout") {
  const auto old = read_description_of_0_1(
      "vocabulary 32, max_length 16, depth 2, predicting level 0, merge into levels 0 1, logits from all, merge "
      "level_attention, heads 2x4, window 3, direction finer; compression 1, stride 1, dim 8, heads 2x4, window full, "
      "hidden 16; attention weights shared; dropout of embeddings 0, attention 0.1, feed-forward 0.2; "
      "prophet_quantized: 2 books of 8 codes of width 4, of final embeddings; next_latent by smooth_l1, rollouts 2, "
      "decay "
      "0.5, summaries learn, targets detached; sigmoid_contrastive with detached targets",
      "file");
  CHECK(old.description["merge"] ==
        json{{"name", "level_attention"}, {"heads", 2}, {"head_dim", 4}, {"window", 3}, {"direction", "finer"}});
  CHECK(old.description["receiving_levels"] == json{0, 1});
  CHECK(old.description["share_attention"] == true);
  CHECK(old.options["attention_dropout"] == 0.1);
  CHECK(old.options["feed_forward_dropout"] == 0.2);
  CHECK(old.losses["prophet_quantized"]["source"] == "final_embeddings");
  CHECK(old.losses["next_latent"]["distance"] == "smooth_l1");
  CHECK(old.losses["next_latent"]["rollout_decay"] == 0.5);
  CHECK(old.losses["next_latent"]["detach_summaries"] == false);
  CHECK(old.losses["sigmoid_contrastive"]["detach_targets"] == true);
  CHECK(missing_in(message_of([] { read_description_of_0_1("vocabulary 32, max_width 16", "file"); }),
                   {"file", "max_length", "byte 13"}) == "");
}

}  // namespace strata::of_descriptions
