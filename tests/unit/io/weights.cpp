// Weights of every kind of model come back from a file to the bit, and fit that model alone.
#include <set>
#include <string>
#include <vector>

#include <strata/reference.hpp>

#include "scratch_directory.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/models.hpp"

namespace {

using backend_type = strata::reference<float>;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;

template <class Model>
json json_of() {
  return strata::to_json(Model::description);
}

/// Another model with the same shapes: the finest level sees one more position, or more tokens.
template <class Model>
struct another : Model {
  static constexpr auto description = strata::with(Model::description, [](auto& d) {
    for (int l = 0; l < d.levels.size(); ++l) {
      strata::level& level = d.levels[l];
      if (level.compression != 1) continue;
      if (level.window == strata::full_attention)
        d.max_length *= 2;
      else
        level.window = level.window == strata::automatic_window ? d.max_length / 2 + 1 : level.window + 1;
    }
  });
};

struct not_shared : models::automatic_windows {
  static constexpr auto description =
      strata::with(models::automatic_windows::description, [](auto& d) { d.share_attention = false; });
};

struct longer : models::flat_window {
  static constexpr auto description =
      strata::with(models::flat_window::description, [](auto& d) { d.max_length *= 2; });
};

}  // namespace

TEMPLATE_TEST_CASE("weights are saved and loaded", "", models::mixed, golden::flat_full_attention, STRATA_VARIANTS) {
  const scratch_directory folder;
  backend_type backend;
  models::training_model<TestType, backend_type> saved(backend, 1), loaded(backend, 2);
  const auto path = folder.path() / "weights.safetensors";
  strata::save_weights(saved, path);
  const strata::load_report report = strata::load_weights(loaded, path);
  CHECK(strata::weights_of(saved) == strata::weights_of(loaded));
  CHECK(report.missing.empty());
  CHECK(report.mismatched.empty());
  CHECK(report.unused.empty());
  CHECK(report.difference == "");

  models::training_model<another<TestType>, backend_type> other(backend, 3);
  const auto before = strata::weights_of(other);
  CHECK_THAT(message_of([&] { strata::load_weights(other, path); }),
             ContainsSubstring("the file is of another model: level "));
  CHECK(strata::weights_of(other) == before);
}

TEST_CASE("where windows are numbers, another max_length is no other model") {
  const scratch_directory folder;
  backend_type backend;
  models::training_model<models::flat_window, backend_type> saved(backend, 1);
  models::training_model<longer, backend_type> loaded(backend, 2);
  strata::save_weights(saved, folder.path() / "weights.safetensors");
  strata::load_weights(loaded, folder.path() / "weights.safetensors");
  CHECK(strata::weights_of(saved) == strata::weights_of(loaded));
}

TEST_CASE("quantisers that no loss here uses are not read") {
  const scratch_directory folder;
  backend_type backend;
  const models::training_model<models::mixed, backend_type> saved(backend, 1);
  models::training_model<models::mixed, backend_type> loaded(backend, 2);
  const auto values = strata::weights_of(saved);
  strata::safetensors_writer writer;
  strata::add_parameters<models::parameters<models::mixed>>(writer, "", values);
  const std::string name = "rand_proj_quantizers.1.rand_projs";
  writer.add(name, {3, 18, 5}, values.data());  // of the level that is not compressed
  writer.write(folder.path() / "weights.safetensors");
  const auto report = strata::load_weights(loaded, folder.path() / "weights.safetensors");
  CHECK(strata::weights_of(loaded) == values);
  CHECK(report.unused == std::vector<std::string>{name});
}

TEST_CASE("shared attention weights are one tensor, under the name of the first level that has them") {
  using shared = models::parameters<models::automatic_windows>;
  std::set<std::string> names;
  for (const auto& entry : shared::entries()) CHECK(names.insert(entry.name).second);
  for (const char* layer : {"layers.0.", "layers.1."}) {
    const std::string prefix = layer;
    for (const char* own : {"0.attn.to_qkv.weight", "0.attn.to_out.weight", "0.attn.norm.weight",
                            "1.attn.to_qkv.weight", "1.attn.to_out.weight", "2.attn.norm.weight"})
      CHECK(names.contains(prefix + own));
    CHECK(!names.contains(prefix + "2.attn.to_qkv.weight"));
    CHECK(!names.contains(prefix + "2.attn.to_out.weight"));
  }
  CHECK(models::cost<models::automatic_windows>::parameters ==
        models::cost<not_shared>::parameters - 2 * (3 * 2 * 4 + 4 * 2));
  CHECK(json_of<models::automatic_windows>().at("share_attention") == true);
}

TEST_CASE("a description says what merges levels, and into which") {
  CHECK(json_of<models::automatic_windows>().at("receiving_levels") == json{2, "predicting"});
  CHECK(json_of<models::automatic_windows>().at("merge") == json{{"name", "concatenate"}});
  CHECK(json_of<models::mixed>().at("receiving_levels") == json{"every"});
  CHECK(json_of<models::mixed>().at("logits") == "all_levels");
  CHECK(json_of<models::separable>().at("merge") == json{{"name", "separable"}});
  CHECK(json_of<models::attends_to_finer_levels>().at("merge") ==
        json{{"name", "level_attention"}, {"heads", 1}, {"head_dim", 4}, {"window", 3}, {"direction", "finer"}});
  CHECK(json_of<models::shifts_levels>().at("merge") == json{{"name", "level_shift"}, {"feed_forward_multiple", 2}});
}

TEST_CASE("a description says how an hourglass is lengthened") {
  const auto levels = json_of<models::attending_hourglass>().at("levels");
  CHECK((levels[1].at("before") == 1 && levels[1].at("after") == 2 && levels[1].at("upsampling") == "linear"));
  CHECK((levels[0].at("before") == 0 && levels[0].at("after") == 0 && levels[0].at("upsampling") == "attention"));
  CHECK(json_of<models::hourglass>().at("levels")[0].at("upsampling") == "linear");
}

TEST_CASE("the options of a loss say what is quantised") {
  using quantized = models::automatic_windows::quantized;
  CHECK(strata::options_to_json(models::automatic_windows::losses.get<quantized>()) ==
        json{{"source", "final_embeddings"}});
  CHECK(strata::options_to_json(quantized()) == json{{"source", "compressed_tokens"}});
}
