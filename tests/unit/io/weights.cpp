// Weights of every kind of model come back from a file to the bit, and belong to that model alone.
#include <cstring>

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

}  // namespace

TEMPLATE_TEST_CASE("weights are saved and loaded", "", models::mixed, STRATA_VARIANTS) {
  const scratch_directory folder;
  backend_type backend;
  strata::transformer<TestType, backend_type> saved(backend, 1), loaded(backend, 2);
  const auto path = folder.path() / "weights.safetensors";
  strata::save_weights(saved, path);
  strata::load_weights(loaded, path);
  const auto ids = models::random_ids(1, 20, TestType::vocabulary, 1);
  const auto expected = saved.forward({ids.data(), {1, 20}}), logits = loaded.forward({ids.data(), {1, 20}});
  CHECK(std::memcmp(expected.data, logits.data, static_cast<std::size_t>(logits.size()) * sizeof(float)) == 0);

  strata::transformer<longer<TestType>, backend_type> other(backend, 3);
  CHECK_THAT(message_of([&] { strata::load_weights(other, path); }),
             Catch::Matchers::ContainsSubstring("the file is of the model"));
}
