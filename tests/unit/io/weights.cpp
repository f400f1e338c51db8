// Weights of every kind of model come back from a file to the bit, and belong to that model alone.
#include <strata/reference.hpp>

#include "scratch_directory.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/models.hpp"

namespace {

using backend_type = strata::reference<float>;

/// A model with the same shapes that is another all the same.
template <class Config>
struct longer : Config {
  static constexpr int max_length = 2 * Config::max_length;
};

struct not_shared : models::automatic_windows {
  static constexpr bool share_attention = false;
};

/// Differs from its base in no shape.
struct quantizes_compressed_tokens : models::automatic_windows {
  static constexpr strata::prophet_quantized_options prophet_quantized{.books = 2, .codes = 3, .code_dim = 4};
};

}  // namespace

TEMPLATE_TEST_CASE("weights are saved and loaded", "", models::mixed, golden::flat_full_attention, STRATA_VARIANTS) {
  const scratch_directory folder;
  backend_type backend;
  strata::transformer<TestType, backend_type> saved(backend, 1), loaded(backend, 2);
  const auto path = folder.path() / "weights.safetensors";
  strata::save_weights(saved, path);
  strata::load_weights(loaded, path);
  CHECK(strata::weights_of(saved) == strata::weights_of(loaded));

  strata::transformer<longer<TestType>, backend_type> other(backend, 3);
  CHECK_THAT(message_of([&] { strata::load_weights(other, path); }),
             Catch::Matchers::ContainsSubstring("the file is of the model"));
}

TEST_CASE("quantisers that no loss here uses are not read") {
  const scratch_directory folder;
  backend_type backend;
  const strata::transformer<models::mixed, backend_type> saved(backend, 1);
  strata::transformer<models::mixed, backend_type> loaded(backend, 2);
  const auto values = strata::weights_of(saved);
  strata::safetensors_writer writer;
  strata::add_parameters<models::mixed>(writer, "", values);
  writer.add("rand_proj_quantizers.1.rand_projs", {3, 18, 5}, values.data());  // of the level that is not compressed
  writer.write(folder.path() / "weights.safetensors");
  strata::load_weights(loaded, folder.path() / "weights.safetensors");
  CHECK(strata::weights_of(loaded) == values);
}

TEST_CASE("shared attention weights are one tensor, under the name of the first level that has them") {
  using shared = strata::parameters<models::automatic_windows>;
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
  CHECK(strata::cost<models::automatic_windows>::parameters ==
        strata::cost<not_shared>::parameters - 2 * (3 * 2 * 4 + 4 * 2));
  CHECK_THAT(strata::describe<models::automatic_windows>(), Catch::Matchers::ContainsSubstring("shared"));
}

TEST_CASE("a description says what merges levels, and into which") {
  CHECK_THAT(strata::describe<models::automatic_windows>(),
             Catch::Matchers::ContainsSubstring("merge into levels 1 2,"));
  CHECK_THAT(strata::describe<models::mixed>(), Catch::Matchers::ContainsSubstring("merge into all, logits from all;"));
  CHECK_THAT(strata::describe<models::separable>(), Catch::Matchers::ContainsSubstring(", merge separable;"));
  CHECK_THAT(strata::describe<models::attends_to_finer_levels>(),
             Catch::Matchers::ContainsSubstring(", merge level_attention, heads 1x4, window 3, direction finer;"));
  CHECK_THAT(strata::describe<models::shifts_levels>(),
             Catch::Matchers::ContainsSubstring(", merge level_shift, hidden 2 times the width;"));
}

TEST_CASE("a description says how an hourglass is lengthened") {
  CHECK_THAT(strata::describe<models::hourglass>(), Catch::Matchers::EndsWith("; hourglass of 1 + 2 fine layers"));
  CHECK_THAT(strata::describe<models::attending_hourglass>(),
             Catch::Matchers::EndsWith("; hourglass of 1 + 2 fine layers, lengthened by attention"));
}

TEST_CASE("a description says what is quantised") {
  const std::string text = strata::describe<quantizes_compressed_tokens>();
  CHECK_THAT(text, Catch::Matchers::ContainsSubstring("2 books of 3 codes of width 4, of compressed tokens"));
  CHECK(text != strata::describe<models::automatic_windows>());
}
