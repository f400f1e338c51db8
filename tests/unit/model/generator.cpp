// Generation: prompts of different lengths side by side, seeds, greedy, and what is refused.
#include <algorithm>
#include <cmath>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/models.hpp"

using Catch::Matchers::ContainsSubstring;
using backend_type = strata::reference<float>;
using model_type = models::inference_model<models::mixed, backend_type>;

namespace {

struct fixture {
  backend_type backend;
  model_type model{backend, 3};

  std::vector<std::vector<strata::token>> write(const std::vector<std::vector<strata::token>>& prompts,
                                                strata::index_type count, strata::sampling_options options) {
    models::generator<models::mixed, backend_type> writer(model, static_cast<strata::index_type>(prompts.size()));
    std::vector<std::vector<strata::token>> texts(prompts.size());
    writer.generate(prompts, count, options, [&](strata::index_type row, strata::token id) {
      texts[static_cast<std::size_t>(row)].push_back(id);
    });
    return texts;
  }
};

}  // namespace

TEST_CASE_METHOD(fixture, "greedy texts of one batch are those of each prompt alone") {
  std::vector<std::vector<strata::token>> prompts{{5}, models::random_ids(1, 150, 67, 1), {1, 2, 3}};
  const auto together = write(prompts, 40, {.temperature = 0});
  for (std::size_t row = 0; row < prompts.size(); ++row) {
    REQUIRE(together[row].size() == 40);
    CHECK(together[row] == write({prompts[row]}, 40, {.temperature = 0})[0]);
  }
}

TEST_CASE_METHOD(fixture, "a seed decides the text") {
  const auto once = write({{1}}, 60, {.seed = 4}), again = write({{1}}, 60, {.seed = 4});
  CHECK(once == again);
  CHECK(once != write({{1}}, 60, {.seed = 5}));
  const auto twins = write({{1}, {1}}, 60, {.seed = 4});
  CHECK(twins[0] == once[0]);
  CHECK(twins[1] != twins[0]);  // each text of a batch has its own random stream
}

TEST_CASE("what is written is drawn from the logits of each step") {
  const std::vector<std::vector<strata::token>> prompts{{1, 2, 3}, {4}, models::random_ids(1, 80, 67, 1)};
  constexpr std::size_t texts = 3, count = 30;
  const strata::sampling_options options{.temperature = 1.5, .threshold = 0.5, .seed = 8};
  models::on_every_backend([&](auto& backend) {
    using backend_t = std::remove_reference_t<decltype(backend)>;
    const models::inference_model<models::mixed, backend_t> model(backend, 3);
    models::generator<models::mixed, backend_t> writer(model, texts);
    std::vector<std::vector<strata::token>> written(texts), expected(texts);
    writer.generate(prompts, count, options, [&](strata::index_type row, strata::token id) {
      written[static_cast<std::size_t>(row)].push_back(id);
    });

    backend_type host;
    writer.reset();
    std::vector<strata::token> ids(texts);
    for (std::size_t t = 0; t + 1 < 80 + count; ++t) {
      for (std::size_t row = 0; row < texts; ++row)
        if (t < prompts[row].size()) ids[row] = prompts[row][t];
      sample(host, options, t, writer.step({ids.data(), {texts}}), {ids.data(), {texts}});
      for (std::size_t row = 0; row < texts; ++row)
        if (t + 1 >= prompts[row].size() && expected[row].size() < count) expected[row].push_back(ids[row]);
    }
    CHECK(written == expected);
  });
}

TEST_CASE_METHOD(fixture, "generation shows every position after its forward pass, and ends where it is told to") {
  const auto prompt = models::random_ids(1, 150, 67, 1);  // longer than max_length
  const std::vector<std::vector<strata::token>> prompts{prompt};
  models::generator<models::mixed, backend_type> generates(model);
  const auto expected = write(prompts, 10, {.seed = 7})[0];
  for (const strata::index_type last : {100, 150, 155, 160}) {
    std::vector<strata::index_type> shown;
    std::vector<strata::token> text;
    generates.generate(
        prompts, 10, {.seed = 7}, [&](strata::index_type, strata::token id) { text.push_back(id); },
        [&](strata::index_type position, strata::index_type end) {
          CHECK(end == 160);
          shown.push_back(position);
          return position < last;
        });
    CHECK(shown.front() == models::facts<models::mixed>::max_length);
    CHECK(shown.back() == std::min<strata::index_type>(last, 159));
    CHECK(shown.size() == static_cast<std::size_t>(shown.back() - shown.front() + 1));
    const auto generated = static_cast<std::size_t>(std::max<strata::index_type>(0, last - 150));
    CHECK(text == std::vector(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(generated)));
  }
}

TEST_CASE_METHOD(fixture, "logits that are not numbers are an error, not a token") {
  fill(backend, std::nanf(""), model.weights());
  CHECK_THAT(message_of([&] {
               write({{1, 2}, {3}}, 5, {});
             }),
             ContainsSubstring("the logits of text 1 after position 0 are not numbers"));
}

namespace strata::of_generators {

/// The reference backend, until `left` more matrix products are done.
struct breaking : reference<float> {
  int left = 1 << 30;
};

inline void linear(breaking& backend, input<float, 2> x, input<float, 2> weight, input<float, 1> bias,
                   output<float, 2> y, update mode) {
  require(backend.left-- > 0, "this matrix product fails");
  linear(static_cast<reference<float>&>(backend), x, weight, bias, y, mode);
}

TEST_CASE("a generator whose step failed half way says so until it is reset") {
  breaking backend;
  models::inference_model<models::mixed, breaking> model(backend, 3);
  models::generator<models::mixed, breaking> fails(model), fresh(model);
  const std::vector<token> ids{1, 2, 3};
  const auto reads_all = [&](auto& own) {
    const view<const float, 2> logits = own.read({ids.data(), {1, 3}});
    return std::vector<float>(logits.data, logits.data + logits.size());
  };
  const std::vector<float> expected = reads_all(fresh);
  const auto step = [&] { fails.step({ids.data(), {1}}); };
  const auto read = [&] { reads_all(fails); };
  for (const bool at_once : {false, true}) {
    fails.reset();
    backend.left = 2;
    CHECK(message_of([&] { at_once ? read() : step(); }) == "this matrix product fails");
    backend.left = 1 << 30;
    CHECK_THAT(message_of(step), ContainsSubstring("failed half way: call reset()"));
    CHECK_THAT(message_of(read), ContainsSubstring("failed half way: call reset()"));
    fails.reset();
    CHECK(reads_all(fails) == expected);
  }
}

}  // namespace strata::of_generators

TEST_CASE_METHOD(fixture, "a generator sees the model's newest weights") {
  models::generator<models::mixed, backend_type> writer(model);
  const strata::token id = 3;
  const float before = writer.step({&id, {1}})(0, 0);
  model.initialise(99);
  writer.reset();
  CHECK(writer.step({&id, {1}})(0, 0) != before);
}

namespace {

/// Rounds multiplied matrices to numbers that the format holds; a distance bias gets numbers that it does not hold.
template <class Model>
void round_matrices(Model& model, strata::weight_format format) {
  std::vector<float> values(model.weights().data, model.weights().data + model.weights().size());
  for (const auto& entry : Model::parameters_type::entries()) {
    if (entry.shape.size() < 2 || entry.name == "token_emb.weight") continue;
    if (entry.name.ends_with(".distance_bias")) {
      for (strata::index_type n = 0; n < entry.size; ++n)
        values[static_cast<std::size_t>(entry.offset + n)] = 0.1234567f * static_cast<float>(n % 7);
      continue;
    }
    const auto columns = static_cast<std::size_t>(entry.size / entry.shape[0]);
    for (auto row = values.begin() + entry.offset; row < values.begin() + entry.offset + entry.size; row += columns) {
      float largest = 0;
      for (std::size_t k = 0; k < columns; ++k) largest = std::max(largest, std::abs(row[k]));
      for (std::size_t k = 0; k < columns; ++k)
        row[k] = format == strata::weight_format::bfloat16 ? to_float(strata::to_bfloat16(row[k]))
                                                           : std::nearbyint(row[k] / largest * 127) * (largest / 127);
    }
  }
  upload(model.backend(), {values.data(), {model.weights().size()}}, model.weights());
}

}  // namespace

TEMPLATE_TEST_CASE("packed weights that lost nothing give the logits of the model", "", models::mixed,
                   STRATA_VARIANTS) {
  for (const auto format : {strata::weight_format::bfloat16, strata::weight_format::int8})
    models::on_every_backend([&](auto& backend) {
      using backend_t = std::remove_reference_t<decltype(backend)>;
      models::inference_model<TestType, backend_t> model(backend, 3);
      round_matrices(model, format);
      models::generator<TestType, backend_t> plain(model, 3), packed(model, 3, {.weights = format});
      const auto ids = models::random_ids(40, 3, models::facts<TestType>::vocabulary, 1);
      for (strata::index_type t = 0; t < 40; ++t) {
        const auto expected = plain.step({ids.data() + 3 * t, {3}}), got = packed.step({ids.data() + 3 * t, {3}});
        for (strata::index_type n = 0; n < expected.size(); ++n)
          if (!(std::abs(got.data[n] - expected.data[n]) < 1e-5)) FAIL("token " << t << ", logit " << n);
      }
    });
}

TEST_CASE_METHOD(fixture, "a generator with packed weights keeps its own copy") {
  models::generator<models::mixed, backend_type> writer(model, 1, {.weights = strata::weight_format::int8});
  const strata::token id = 3;
  const auto logits = writer.step({&id, {1}});
  const std::vector<float> before(logits.data, logits.data + logits.size());
  fill(backend, 0.f, model.weights());
  writer.reset();
  CHECK(std::equal(before.begin(), before.end(), writer.step({&id, {1}}).data));
}

TEST_CASE_METHOD(fixture, "wrong calls of a generator name what is wrong") {
  const auto refused = [&](const std::vector<std::vector<strata::token>>& prompts, strata::sampling_options options) {
    return message_of([&] { write(prompts, 1, options); });
  };
  CHECK_THAT(refused({{1}, {}}, {}), ContainsSubstring("prompt 1 is empty"));
  CHECK_THAT(refused({{1, 67}}, {}), ContainsSubstring("token id 67 at row 0, position 1"));
  CHECK_THAT(refused({{-1}}, {}), ContainsSubstring("token id -1"));
  CHECK_THAT(refused({{1}, {1, 2, 67}}, {}), ContainsSubstring("token id 67 at row 1, position 2"));
  CHECK_THAT(refused({{1}}, {.temperature = -0.5}), ContainsSubstring("temperature must be 0 or positive, not -0.5"));
  CHECK_THAT(refused({{1}}, {.threshold = 1.5}), ContainsSubstring("threshold must be between 0 and 1, not 1.5"));
  CHECK_THAT(message_of([&] { models::generator<models::mixed, backend_type>(model, 0); }),
             ContainsSubstring("positive batch, not 0"));
}
