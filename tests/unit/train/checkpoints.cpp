// Checkpoints that outlive a release, and the errors of files that are no checkpoints.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <strata/reference.hpp>

#include "package/consumer/parts.hpp"
#include "support/catch.hpp"
#include "support/memory_limit.hpp"
#include "support/messages.hpp"
#include "unit/io/scratch_directory.hpp"

namespace strata::of_checkpoints {
namespace {

using nlohmann::json;
using backend_type = reference<float>;

/// The model of the files of version 0.1 in tests/golden/data.
constexpr basic_description<level_attention> old{
    .vocabulary = 32,
    .max_length = 16,
    .depth = 2,
    .merge = {.window = 3, .heads = 2, .head_dim = 4},
    .levels = {
        {.dim = 8, .heads = 2, .head_dim = 4, .window = 4, .feed_forward_multiple = 2},
        {.compression = 4, .stride = 2, .dim = 6, .heads = 1, .head_dim = 4, .window = 3, .feed_forward_multiple = 1}}};
using quantized = basic_prophet_quantized<2, 8, 4>;
using old_losses = losses<reconstruction, level_autoregressive, quantized, next_latent>;
const char* const old_checkpoint = STRATA_GOLDEN_DATA "/version_0_1_checkpoint.safetensors";
const char* const old_weights = STRATA_GOLDEN_DATA "/version_0_1_weights.safetensors";

std::vector<std::uint8_t> some_text() {
  std::vector<std::uint8_t> text(400);
  for (std::size_t n = 0; n < text.size(); ++n) text[n] = static_cast<std::uint8_t>(n * n / 3 % 32);
  return text;
}

/// A copy of the file `from` with other metadata.
void write_copy(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::map<std::string, std::string>& metadata) {
  const safetensors_file file = safetensors_file::read(from);
  safetensors_writer writer;
  for (const auto& [key, value] : metadata) writer.set_metadata(key, value);
  std::vector<std::vector<float>> values;
  values.reserve(file.entries().size());
  for (const safetensors_entry& entry : file.entries()) {
    values.push_back(file.values<float>(entry.name));
    writer.add(entry.name, entry.shape, values.back().data());
  }
  writer.write(to);
}

/// A copy of the checkpoint `from` in which `change` has changed our metadata.
template <class Change>
void write_changed(const std::filesystem::path& from, const std::filesystem::path& to, Change change) {
  json object = read_metadata(safetensors_file::read(from));
  change(object);
  write_copy(from, to, {{metadata_key, object.dump()}});
}

constexpr description tiny{
    .vocabulary = 32,
    .max_length = 16,
    .depth = 1,
    .levels = {{.dim = 6, .heads = 1, .head_dim = 4, .window = 4, .feed_forward_multiple = 1},
               {.compression = 2, .dim = 4, .heads = 1, .head_dim = 4, .window = 4, .feed_forward_multiple = 1}}};

/// A loss of the user's own with an option that is no whole number.
struct scaled_smoothness : mine::smoothness {
  double scale = 1;
  static constexpr std::string_view name = "mine::scaled_smoothness";
  template <class Own, class Visit>
  static constexpr void for_each_option(Own& own, Visit visit) {
    visit("scale", own.scale);
  }
};

}  // namespace

TEST_CASE("a checkpoint of version 0.1 goes on as it would have then") {
  backend_type backend;
  old_losses chosen;
  chosen.ignore_index = 3;  // was in the program, not in the file
  // Version 0.1 had the cosine alone.
  const training_options other{.schedule = {.decay = decay_kind::linear, .decay_fraction = 0.5}};
  trainer<old, backend_type, old_losses> run(backend, other, chosen);
  const resume_report report = run.resume(old_checkpoint);
  CHECK(report.note == json{{"mine", 7}});
  CHECK(report.weights.missing.empty());
  CHECK(report.weights.unused.empty());
  CHECK(run.step() == 3);
  CHECK(run.options().batch == 2);
  CHECK(run.options().schedule.steps == 20);
  CHECK(run.options().schedule.decay == decay_kind::cosine);
  CHECK(run.options().schedule.decay_fraction == 1);
  CHECK(run.options().dropout == dropout_rates{.attention = 0.1});
  CHECK(run.losses().get<next_latent>().distance == latent_distance::smooth_l1);
  CHECK(run.losses().get<next_latent>().rollouts == 2);
  // The numbers that version 0.1 gave after the third step.
  const auto text = some_text();
  CHECK(run.evaluate(text) == Approx(3.59992099).epsilon(1e-5));
  const auto step = run.train_step(text);
  CHECK(step.loss.total == Approx(5.67632833).epsilon(1e-5));
  CHECK(step.loss.values["reconstruction"] == Approx(3.68822694).epsilon(1e-5));
  CHECK(step.loss.values["next_latent"] == Approx(1.09397054).epsilon(1e-5));
  CHECK(step.gradient_norm == Approx(1.21456366).epsilon(1e-4));
  CHECK(run.train_step(text).loss.total == Approx(5.74290398).epsilon(1e-5));
}

TEST_CASE("a checkpoint of version 0.1 is a file of today's when it is saved again, with 0.1's strings gone") {
  const scratch_directory folder;
  backend_type backend;
  trainer<old, backend_type, old_losses> run(backend);
  auto strings = safetensors_file::read(old_checkpoint).metadata();
  strings["author"] = "someone";
  write_copy(old_checkpoint, folder / "a", strings);
  run.resume(folder / "a");
  run.save(folder / "b");
  const auto file = safetensors_file::read(folder / "b");
  CHECK(file.metadata().size() == 2);
  CHECK(file.metadata("author") == "someone");
  run.resume(folder / "b");
}

TEST_CASE("version 0.1 wrote 6 digits of a capacity") {
  const scratch_directory folder;
  static constexpr auto third = with(old, [](auto& d) { d.levels[0].routing.capacity = 1.0 / 3; });
  static constexpr auto half = with(old, [](auto& d) { d.levels[0].routing.capacity = 0.5; });
  backend_type backend;
  trainer<third, backend_type, old_losses> run(backend, {.seed = 5});
  run.save(folder / "today");
  auto strings = safetensors_file::read(old_checkpoint).metadata();
  std::string& model = strings["strata.model"];
  model.insert(model.find(", hidden 16;") + 11, ", routed hidden 16, capacity 0.333333");
  model.replace(model.find(", hidden 16,"), 12, ", hidden 8,");
  write_copy(folder / "today", folder / "old", strings);
  transformer<third, backend_type, inference> same(backend);
  load_weights(same, folder / "old");
  transformer<half, backend_type, inference> other(backend);
  CHECK(missing_in(message_of([&] { load_weights(other, folder / "old"); }),
                   {"routing.capacity is 0.333333 in the file, but 0.5 in the model"}) == "");
}

TEST_CASE("weights of version 0.1 load, with and without heads of losses") {
  backend_type backend;
  transformer<old, backend_type, old_losses> training(backend, 5);
  transformer<old, backend_type, inference> running(backend);
  CHECK(load_weights(training, old_weights).unused.empty());
  const load_report report = load_weights(running, old_weights);
  CHECK(report.missing.empty());
  CHECK(report.unused.size() == 24);  // the heads
  const std::vector<token> ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3};
  const auto expected = training.forward({ids.data(), {1, 10}}), got = running.forward({ids.data(), {1, 10}});
  for (index_type n = 0; n < expected.size(); ++n) CHECK(expected.data[n] == got.data[n]);
}

TEST_CASE("a checkpoint goes on with other losses: heads that it lacks keep their initialisation") {
  const scratch_directory folder;
  const auto path = folder / "checkpoint.safetensors", second = folder / "second.safetensors";
  backend_type backend;
  const auto text = some_text();
  trainer<tiny, backend_type> run(backend, {.batch = 2, .schedule = {.steps = 9}});
  run.train_step(text);
  run.save(path);
  using others = losses<level_autoregressive, prophet_tokens>;
  trainer<tiny, backend_type, others> changed(backend, {.batch = 3});
  const resume_report report = changed.resume(path);
  CHECK(report.weights.missing == std::vector<std::string>{"compressors.1.to_prophet.weight"});
  CHECK(report.weights.unused == std::vector<std::string>{"compressors.1.to_recon.weight"});
  CHECK(changed.step() == 1);
  CHECK(changed.options().batch == 2);
  changed.train_step(text);
  // Options of the loss that this trainer lacks are unknown keys to it: they stay in the file.
  changed.save(second);
  const json object = read_metadata(safetensors_file::read(second));
  CHECK(object["losses"].contains("reconstruction"));
  CHECK(object["losses"].contains("prophet_tokens"));
}

TEST_CASE("the heads of two losses with one name are not mixed up") {
  const scratch_directory folder;
  const auto tokens_file = folder / "tokens", codes_file = folder / "codes", both_file = folder / "both",
             foreign = folder / "foreign";
  const std::string shared = "compressors.1.to_prophet.weight", codes_beside = "compressors.1.to_prophet_codes.weight";
  using equal_codes = basic_prophet_quantized<2, 32, 4>;  // as many rows as 2 tokens of 32
  using more_codes = basic_prophet_quantized<3, 32, 4>;
  backend_type backend;
  const auto text = some_text();
  trainer<tiny, backend_type, losses<prophet_tokens>> tokens(backend);
  tokens.train_step(text);
  tokens.save(tokens_file);
  const auto head_of = [](const auto& model, const std::string& name) {
    const auto all = weights_of(model);
    for (const parameter_entry& entry : std::remove_cvref_t<decltype(model)>::parameters_type::entries())
      if (entry.name == name)
        return std::vector<float>(all.begin() + entry.offset, all.begin() + entry.offset + entry.size);
    FAIL("no " << name);
    return std::vector<float>();
  };
  const auto starts_anew = [&](auto other) {
    using own = decltype(other);
    trainer<tiny, backend_type, losses<own>> run(backend);
    const auto before = head_of(run.model(), shared);
    const load_report report = run.resume(tokens_file).weights;
    CHECK(report.missing.front() == shared);
    CHECK(report.unused == std::vector<std::string>{shared});
    CHECK((head_of(run.model(), shared) == before));
    save_weights(tokens.model(), folder / "weights");
    load_weights(run.model(), folder / "weights");
    CHECK((head_of(run.model(), shared) == before));
    run.train_step(text);
  };
  starts_anew(equal_codes());
  starts_anew(more_codes());

  // With both losses the head of the codes has another name: it is found all the same.
  trainer<tiny, backend_type, losses<prophet_tokens, equal_codes>> both(backend, {.seed = 5});
  trainer<tiny, backend_type, losses<equal_codes>> codes(backend, {.seed = 6});
  both.save(both_file);
  codes.resume(both_file);
  CHECK((head_of(codes.model(), shared) == head_of(both.model(), codes_beside)));
  codes.train_step(text);
  codes.save(codes_file);
  const auto before = head_of(both.model(), shared);
  CHECK(both.resume(codes_file).weights.missing == std::vector<std::string>{shared});
  CHECK((head_of(both.model(), shared) == before));
  CHECK((head_of(both.model(), codes_beside) == head_of(codes.model(), shared)));

  // The reference package says nothing of losses.
  write_copy(codes_file, foreign, {});
  trainer<tiny, backend_type, losses<equal_codes>> again(backend, {.seed = 7});
  CHECK(load_weights(again.model(), foreign).missing.empty());
  CHECK(weights_of(again.model()) == weights_of(codes.model()));
}

TEST_CASE("a head of another shape starts anew") {
  const scratch_directory folder;
  backend_type backend;
  const auto text = some_text();
  trainer<tiny, backend_type, losses<basic_prophet_quantized<2, 32, 4>>> few(backend);
  few.train_step(text);
  few.save(folder / "few");
  trainer<tiny, backend_type, losses<basic_prophet_quantized<3, 32, 4>>> more(backend);
  const load_report report = more.resume(folder / "few").weights;
  CHECK(report.mismatched.size() == 3);
  CHECK(missing_in(report.mismatched.front(), {"compressors.1.to_prophet.weight", "[64, 4]", "[96, 4]"}) == "");
  CHECK(more.step() == 1);
  more.train_step(text);
  CHECK(load_weights(more.model(), folder / "few").mismatched == report.mismatched);
}

TEST_CASE("unknown keys of a checkpoint are kept, missing ones have defaults") {
  const scratch_directory folder;
  const auto path = folder / "a", changed = folder / "b", again = folder / "c";
  backend_type backend;
  trainer<tiny, backend_type> run(backend, {.batch = 2});
  run.save(path);
  write_changed(path, changed, [](json& object) {
    object["from the future"] = {1, 2, 3};
    object["options"]["momentum of the future"] = 0.5;
    object["description"]["colour"] = "red";
    object["description"]["levels"][1]["taste"] = "sweet";
    object["description"]["levels"][0]["routing"]["by"] = "hand";
    object["description"]["merge"]["order"] = "of the future";
    object["losses"]["reconstruction"]["of the future"] = 1;
    object["options"].erase("beta2");
    object.erase("note");
  });
  auto strings = safetensors_file::read(changed).metadata();
  strings["author"] = "someone";
  write_copy(changed, path, strings);
  run.resume(path);
  CHECK(run.options().beta2 == training_options().beta2);
  run.save(again);
  const auto file = safetensors_file::read(again);
  CHECK(file.metadata("author") == "someone");
  const json object = read_metadata(file);
  CHECK(object["description"]["colour"] == "red");
  CHECK(object["description"]["levels"][1]["taste"] == "sweet");
  CHECK(object["description"]["levels"][1]["dim"] == 4);
  CHECK(object["description"]["levels"][0]["routing"]["by"] == "hand");
  CHECK(object["description"]["merge"] == json{{"name", "concatenate"}, {"order", "of the future"}});
  CHECK(object["losses"]["reconstruction"]["of the future"] == 1);
  CHECK(object["from the future"] == json{1, 2, 3});
  CHECK(object["options"]["momentum of the future"] == 0.5);
  // A format that is missing is the first.
  write_copy(path, changed, [&] {
    json all = object;
    all.erase("format");
    return std::map<std::string, std::string>{{metadata_key, all.dump()}};
  }());
  run.resume(changed);
  write_copy(path, changed, {{metadata_key, "{}"}});
  CHECK(load_weights(run.model(), changed).missing.empty());
  CHECK(missing_in(message_of([&] { run.resume(changed); }), {"no state of a training run"}) == "");
  write_changed(path, changed, [](json& all) { all["format"] = file_format + 1; });
  CHECK(missing_in(message_of([&] { run.resume(changed); }), {"format 2", "newer version"}) == "");
}

TEST_CASE("every number of a checkpoint is checked, and a file that does not fit changes nothing") {
  const scratch_directory folder;
  const auto path = folder / "a", broken = folder / "broken";
  backend_type backend;
  trainer<tiny, backend_type> run(backend, {.batch = 2});
  run.save(path);
  const auto before = weights_of(run.model());
  const auto message = [&](auto change) {
    write_changed(path, broken, change);
    return message_of([&] { run.resume(broken); });
  };
  CHECK(missing_in(message([](json& o) { o["step"] = -5; }), {"step", "-5"}) == "");
  CHECK(missing_in(message([](json& o) { o["step"] = 1.5; }), {"step", "1.5"}) == "");
  CHECK(missing_in(message([](json& o) { o["step"] = 9223372036854775807; }), {"step", "9223372036854775807"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["batch"] = 0; }), {"batch", "0"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["batch"] = "two"; }), {"batch", "two"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["length"] = 9223372036854775807; }),
                   {"texts of 9223372036854775807 tokens"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["accumulation"] = 9223372036854775807; }), {"step", "passes"}) ==
        "");
  CHECK(missing_in(message([](json& o) { o["options"]["steps"] = -1; }), {"steps", "-1"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["warmup"] = 9223372036854775807; }), {"warmup"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["epsilon"] = 1e-50; }), {"epsilon", "1e-50", "float"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["learning_rate"] = 1e300; }), {"learning_rate", "1e+300"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["beta2"] = 1; }), {"beta2", "[0, 1)"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["merge"] = 1; }), {"merge", "true or false"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["seed"] = -1; }), {"seed", "-1"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["attention_dropout"] = 1; }), {"dropout.attention", "[0, 1)"}) ==
        "");
  CHECK(missing_in(message([](json& o) { o["losses"]["reconstruction"]["weight"] = -1; }), {"reconstruction", "-1"}) ==
        "");
  for (const char* key : {"max_norm", "weight_decay", "final_fraction", "beta1", "attention_dropout"}) {
    CHECK(missing_in(message([&](json& o) { o["options"][key] = 1e-50; }), {key, "is 1e-50, which as a float is 0"}) ==
          "");
    write_changed(path, broken, [&](json& o) { o["options"][key] = 0; });
    trainer<tiny, backend_type>(backend).resume(broken);
  }
  CHECK(missing_in(message([](json& o) { o["options"]["attention_dropout"] = 0.9999999999; }),
                   {"dropout.attention", "[0, 1)"}) == "");
  CHECK(missing_in(message([](json& o) { o["options"]["steps"] = 9223372036854775807; }),
                   {"steps must be at most 1125899906842624, not 9223372036854775807"}) == "");
  for (const double weight : {1e300, 1e-50})
    CHECK(missing_in(message([&](json& o) { o["losses"]["reconstruction"]["weight"] = weight; }),
                     {"loss 'reconstruction'", "weight", "as a float"}) == "");
  trainer<tiny, backend_type, losses<scaled_smoothness>> scaled(backend);
  scaled.save(path);
  write_changed(path, broken, [](json& o) { o["losses"]["mine::scaled_smoothness"]["scale"] = 1e300; });
  CHECK(missing_in(message_of([&] { scaled.resume(broken); }), {"mine::scaled_smoothness", "scale", "1e+300"}) == "");
  run.save(path);
  // The program's values are checked too.
  const auto refused = [&](auto change) {
    training_options options;
    change(options);
    return message_of([&] { trainer<tiny, backend_type>(backend, options); });
  };
  CHECK(missing_in(refused([](auto& o) { o.max_norm = 1e-50; }), {"max_norm", "1e-50", "float"}) == "");
  CHECK(missing_in(refused([](auto& o) { o.schedule.steps = INT64_MAX; }), {"steps", "at most"}) == "");
  CHECK(missing_in(message([](json& o) { o["losses"]["ignore_index"] = 99; }), {"ignore_index", "99"}) == "");
  CHECK(missing_in(message([](json& o) { o["losses"] = 3; }), {"losses", "object"}) == "");
  CHECK(missing_in(message([](json& o) { o["description"]["levels"][0]["window"] = 5; }),
                   {"another model", "level 0: window is 5 in the file, but 4 in the model"}) == "");
  CHECK(run.step() == 0);
  CHECK(run.options().batch == 2);
  CHECK(weights_of(run.model()) == before);
}

TEST_CASE("metadata of another type is an error, and so is a note that is no text") {
  const scratch_directory folder;
  const auto path = folder / "a", broken = folder / "broken";
  backend_type backend;
  trainer<tiny, backend_type> run(backend, {.batch = 2});
  run.save(path);
  static constexpr description flat{.depth = 1, .levels = {{.dim = 6, .heads = 1, .head_dim = 4, .window = 4}}};
  transformer<flat, backend_type> one_level(backend);
  for (const json& other : {json(5), json::array(), json("x")}) {
    INFO(other.dump());
    write_changed(path, broken, [&](json& all) { all["options"] = other; });
    CHECK(missing_in(message_of([&] { run.resume(broken); }), {"\"options\" must be a JSON object"}) == "");
    write_changed(path, broken, [&](json& all) { all["description"] = other; });
    CHECK(missing_in(message_of([&] { run.resume(broken); }), {"description: must be a JSON object"}) == "");
    CHECK(missing_in(message_of([&] { load_weights(one_level, broken); }), {"description: must be a JSON object"}) ==
          "");
    write_copy(path, broken, {{metadata_key, other.dump()}});
    CHECK(missing_in(message_of([&] { run.resume(broken); }), {"metadata 'strata'", "JSON object"}) == "");

    trainer<old, backend_type, old_losses> old_run(backend);
    for (const char* key : {"strata.training_options", "strata.loss_weights"}) {
      auto strings = safetensors_file::read(old_checkpoint).metadata();
      strings[key] = other.dump();
      write_copy(old_checkpoint, broken, strings);
      CHECK(missing_in(message_of([&] { old_run.resume(broken); }), {key, "must be a JSON object"}) == "");
    }
  }
  CHECK(message_of([&] { run.save(path, "\xff"); }) == to_text("cannot write ", path, ": the note is not valid UTF-8"));
  run.resume(path);  // the old file is still there
}

#if STRATA_TESTS_WITHOUT_MEMORY
TEST_CASE("too little memory for a file is an error in words, and changes nothing") {
  // Sizes above 32 MiB never come from what the heap has left.
  static constexpr description wide = with(tiny, [](auto& d) {
    d.vocabulary = 1 << 20;
    d.levels[0].dim = d.levels[1].dim = 4;
  });
  const scratch_directory folder;
  const auto path = folder / "weights", checkpoint = folder / "checkpoint";
  backend_type backend;
  transformer<wide, backend_type, inference> model(backend);
  model.initialise(1);
  save_weights(model, path);
  trainer<tiny, backend_type> run(backend);
  const json note = std::string((std::size_t{1} << 25) + 1, 'n');
  run.save(checkpoint, 7);
  std::string saving, loading, noting;
  {
    const no_more_memory limit;
    saving = message_of([&] { save_weights(model, path); });
    loading = message_of([&] { load_weights(model, path); });
    noting = message_of([&] { run.save(checkpoint, note); });
  }
  CHECK(saving == "there is too little memory for saving weights");
  CHECK(loading == "there is too little memory for loading weights");
  CHECK(noting == "there is too little memory for saving a checkpoint");
  CHECK(run.resume(checkpoint).note == 7);
}
#endif

TEST_CASE("what is mixed up with a checkpoint is named") {
  const scratch_directory folder;
  const auto weights = folder / "weights", foreign = folder / "foreign";
  backend_type backend;
  trainer<tiny, backend_type> run(backend);
  save_weights(run.model(), weights);
  CHECK(missing_in(message_of([&] { run.resume(weights); }), {"weights of a model", "no state of a training run"}) ==
        "");
  safetensors_writer writer;
  const std::vector<float> values(4);
  writer.add("model.embed_tokens.weight", {2, 2}, values.data());
  writer.write(foreign);
  CHECK(missing_in(message_of([&] { run.resume(foreign); }), {"foreign", "no checkpoint of strata"}) == "");
  CHECK(missing_in(message_of([&] { load_weights(run.model(), foreign); }),
                   {"foreign", "no tensor 'token_emb.weight'", "another program wrote it"}) == "");
}

TEST_CASE("matching takes what fits and returns what did not") {
  const scratch_directory folder;
  const auto path = folder / "weights";
  backend_type backend;
  transformer<tiny, backend_type> saved(backend, 1);
  save_weights(saved, path);
  static constexpr description wider = with(tiny, [](auto& d) { d.levels[1].feed_forward_multiple = 2; });
  transformer<wider, backend_type> other(backend, 2), untouched(backend, 2);
  CHECK(missing_in(message_of([&] { load_weights(other, path); }), {"level 1: the hidden width"}) == "");
  CHECK(weights_of(other) == weights_of(untouched));
  const load_report report = load_weights(other, path, load_mode::matching);
  CHECK(report.difference == "level 1: the hidden width of the feed-forward is 4 in the file, but 8 in the model");
  CHECK(report.missing.empty());
  CHECK(!report.mismatched.empty());
  CHECK(missing_in(report.mismatched.front(), {"[4, 4]", "[8, 4]"}) == "");
  const auto taken = weights_of(other), from = weights_of(saved), kept = weights_of(untouched);
  using to = parameters<wider>;
  std::size_t same = 0;
  for (const parameter_entry& entry : to::entries())
    for (const parameter_entry& source : parameters<tiny>::entries())
      if (entry.name == source.name)
        for (index_type n = 0; n < entry.size; ++n) {
          const auto at = static_cast<std::size_t>(entry.offset + n),
                     there = static_cast<std::size_t>(source.offset + n);
          const bool fits = entry.shape == source.shape;
          REQUIRE(taken[at] == (fits ? from[there] : kept[at]));
          same += fits ? 1 : 0;
        }
  CHECK(same > 0);
}

TEST_CASE("weights are saved in 16 bits, rounded to nearest") {
  const scratch_directory folder;
  backend_type backend;
  const transformer<tiny, backend_type> saved(backend, 1);
  const auto exact = weights_of(saved);
  const auto size_of_file = [&](dtype as) {
    save_weights(saved, folder / "weights", as);
    transformer<tiny, backend_type> loaded(backend, 2);
    CHECK(load_weights(loaded, folder / "weights").missing.empty());
    const auto rounded = weights_of(loaded);
    const double precision = as == dtype::BF16 ? 0x1p-8 : as == dtype::F16 ? 0x1p-11 : 0;
    bool differs = false;
    for (std::size_t n = 0; n < exact.size(); ++n) {
      REQUIRE(std::abs(rounded[n] - exact[n]) <= precision * std::abs(exact[n]) + (as == dtype::F16 ? 0x1p-25 : 0));
      differs = differs || rounded[n] != exact[n];
    }
    CHECK(differs == (as != dtype::F32));
    return std::filesystem::file_size(folder / "weights");
  };
  const auto whole = size_of_file(dtype::F32);
  CHECK(size_of_file(dtype::BF16) < 3 * whole / 4);
  CHECK(size_of_file(dtype::F16) < 3 * whole / 4);
}

TEST_CASE("a model for inference has no heads, and no weights before they are loaded") {
  backend_type backend;
  transformer<tiny, backend_type, inference> model(backend);
  CHECK(model.has_weights() == false);
  const std::vector<token> ids{1, 2, 3, 4};
  CHECK(missing_in(message_of([&] { model.forward({ids.data(), {1, 4}}); }), {"no weights", "initialise"}) == "");
  CHECK(missing_in(message_of([&] { generator writer(model); }), {"no weights"}) == "");
  CHECK(parameters<tiny, inference>::buffer_size < parameters<tiny>::buffer_size);
  for (const parameter_entry& entry : parameters<tiny, inference>::entries())
    CHECK(!detail::is_head_of_loss(entry.name));
  model.initialise(3);
  CHECK(model.forward({ids.data(), {1, 4}}).size() == 4 * 32);
  CHECK(missing_in(message_of([&] { model.embeddings(7); }), {"no level 7", "2"}) == "");
}

TEST_CASE("what was moved says so, and sizes are checked before they overflow") {
  backend_type backend;
  transformer<tiny, backend_type> model(backend);
  generator writer(model);
  const std::vector<token> ids{1, 2, 3, 4};
  model.forward({ids.data(), {1, 4}});
  CHECK(missing_in(message_of([&] { generator many(model, index_type{1} << 60); }), {"batch of at most", "texts"}) ==
        "");
  const transformer<tiny, backend_type> elsewhere = std::move(model);
  const generator<tiny, backend_type> other = std::move(writer);
  CHECK(message_of([&] {
          model.forward({ids.data(), {1, 4}});
        }) == "this model was moved: another object holds its weights");
  CHECK(missing_in(message_of([&] { model.embeddings(0); }), {"was moved"}) == "");
  CHECK(missing_in(message_of([&] { model.losses_of_pass(); }), {"was moved"}) == "");
  CHECK(missing_in(message_of([&] { save_weights(model, "never"); }), {"was moved"}) == "");
  CHECK(missing_in(message_of([&] { writer.step({ids.data(), {1}}); }), {"generator was moved"}) == "");

  // Assignment moves, too: the model that was assigned from does not get the other one's weights.
  transformer<tiny, backend_type> first(backend), second(backend);
  first.forward({ids.data(), {1, 4}});
  second.forward({ids.data(), {1, 4}});
  first = std::move(second);
  const std::string moved = "this model was moved: another object holds its weights";
  CHECK(message_of([&] { second.forward({ids.data(), {1, 4}}); }) == moved);
  CHECK(message_of([&] { second.embeddings(0); }) == moved);
  CHECK(message_of([&] { second.weights(); }) == moved);
  CHECK(message_of([&] { second.gradients(); }) == moved);
  CHECK(message_of([&] { second.initialise(1); }) == moved);
  CHECK(message_of([&] { load_weights(second, "never"); }) != "");
  CHECK_NOTHROW(first.forward({ids.data(), {1, 4}}));
  generator texts(first), taken(first);
  texts = std::move(taken);
  CHECK(missing_in(message_of([&] { taken.reset(); }), {"generator was moved"}) == "");
  trainer<tiny, backend_type> run(backend, {.batch = 1});
  const trainer<tiny, backend_type> runs_elsewhere = std::move(run);
  const std::vector<std::uint8_t> bytes(200, 7);
  CHECK(message_of([&] { run.train_step(bytes); }) == moved);
  CHECK(message_of([&] { run.evaluate(bytes); }) == moved);
  CHECK(message_of([&] { run.save("never"); }) == moved);
  STATIC_REQUIRE_FALSE(std::is_constructible_v<generator<tiny, backend_type>, transformer<tiny, backend_type>&&>);

  constexpr description routed = with(tiny, [](auto& d) { d.levels[0].routing.capacity = 0.5; });
  static constexpr description kept = routed;
  transformer<kept, backend_type> network(backend);
  CHECK(missing_in(message_of([&] { network.reserve(index_type{1} << 20, index_type{1} << 12); }),
                   {"level 0 routes 4294967296 positions", "32 bits", "2147483647"}) == "");
}

}  // namespace strata::of_checkpoints
