// Training: it learns, the same seed gives the same bits, threads agree to rounding, a checkpoint continues bit for bit.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>
#include <set>

#include <strata/cpu.hpp>
#include <strata/data/rows.hpp>
#include <strata/reference.hpp>
#include <strata/strata.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

using Catch::Matchers::ContainsSubstring;

namespace {

using quantized = strata::basic_prophet_quantized<2, 16, 8>;
using losses_type = strata::losses<strata::reconstruction, strata::level_autoregressive, quantized>;
constexpr strata::description narrow{
    .max_length = 32,
    .depth = 2,
    .levels =
        {{.compression = 1, .dim = 24, .heads = 2, .head_dim = 12, .window = 8},
         {.compression = 2, .dim = 32, .heads = 2, .head_dim = 16, .window = 8, .ngrams = {{.length = 2, .rows = 99}}}},
    .ngrams = {{.length = 3, .rows = 200}}};
constexpr auto wider = strata::with(narrow, [](auto& d) { d.levels[1].dim = 40; });
constexpr auto another_window = strata::with(narrow, [](auto& d) { d.levels[0].window = 7; });

template <class Backend>
using trainer_type = strata::trainer<narrow, Backend, losses_type>;
using parameters = strata::parameters<narrow, losses_type>;

std::vector<std::uint8_t> some_text() {
  std::vector<std::uint8_t> bytes;
  for (int n = 0; bytes.size() < 8000; ++n)
    for (const char letter : "line " + std::to_string(n * n % 97) + " of the text\n")
      bytes.push_back(static_cast<std::uint8_t>(letter));
  return bytes;
}

strata::training_options options() {
  strata::training_options result;
  result.batch = 4;
  result.accumulation = 2;
  result.schedule = {.peak = 3e-3, .final_fraction = 0.1, .warmup = 5, .steps = 20};
  result.dropout = {.embedding = 0.02, .attention = 0.05, .feed_forward = 0.05};
  return result;
}

template <class Trainer>
std::vector<float> weights_after(Trainer& trainer, strata::index_type steps) {
  const auto bytes = some_text();
  while (trainer.step() < steps) trainer.train_step(bytes);
  return strata::weights_of(trainer.model());
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

struct folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("strata_trainer_" + std::to_string(std::random_device()()));
  folder() { std::filesystem::create_directories(path); }
  ~folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("training learns") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  const auto bytes = some_text();
  const double before = trainer.evaluate(bytes);
  const auto first = trainer.train_step(bytes);
  CHECK(first.step == 1);
  CHECK(first.loss.total > first.loss.values["cross_entropy"]);
  CHECK(first.learning_rate == Approx(3e-3 / 5));
  weights_after(trainer, 20);
  CHECK(before > 5);
  CHECK(trainer.evaluate(bytes) < 0.75 * before);
}

TEST_CASE("training changes everything but constants") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  const auto before = strata::weights_of(trainer.model()), after = weights_after(trainer, 2);
  for (const auto& entry : parameters::entries()) {
    INFO(entry.name);
    const auto first = before.begin() + entry.offset;
    CHECK(std::equal(first, first + entry.size, after.begin() + entry.offset) ==
          (entry.kind == strata::parameter_kind::constant));
  }
}

TEST_CASE("training draws new dropout masks in every step and pass") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  strata::transformer<narrow, strata::cpu, losses_type> model(backend);
  model.set_dropout(options().dropout);
  const strata::random_source random(options().seed);
  const auto bytes = some_text();
  for (strata::index_type step = 0; step < 2; ++step) {
    strata::set_weights(model, strata::weights_of(trainer.model()));
    double expected = 0, without = 0;
    for (strata::index_type pass = 0; pass < 2; ++pass) {
      std::vector<strata::token> ids(4 * 33);
      for (strata::index_type b = 0; b < 4; ++b)
        strata::crop(bytes, random, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(4 * pass + b),
                     std::span(ids).subspan(static_cast<std::size_t>(33 * b), 33));
      const strata::loss_values weights(trainer.losses());
      const std::uint64_t seed = strata::dropout_seed(random, step, pass);
      expected += model.losses({ids.data(), {4, 33}}, weights, {.dropout_seed = seed}).total / 2;
      without += model.losses({ids.data(), {4, 33}}, weights).total / 2;
    }
    CHECK(trainer.train_step(bytes).loss.total == Approx(expected).epsilon(1e-6));  // passes are added in float
    CHECK(std::abs(without - expected) > 1e-4);
  }
  std::set<std::uint64_t> seeds;
  for (const strata::index_type step : {0, 1, 2})
    for (const strata::index_type pass : {0, 1, 2}) seeds.insert(strata::dropout_seed(random, step, pass));
  CHECK(seeds.size() == 9);
}

TEST_CASE("a step on given rows is the step that draws the same rows") {
  strata::cpu backend;
  auto chosen = options();
  chosen.accumulation = 1;
  trainer_type<strata::cpu> drawn(backend, chosen), given(backend, chosen);
  const strata::random_source random(chosen.seed);
  const auto bytes = some_text();
  std::vector<strata::token> ids(4 * 33);
  for (strata::index_type step = 0; step < 3; ++step) {
    for (strata::index_type b = 0; b < 4; ++b)
      strata::crop(bytes, random, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(b),
                   std::span(ids).subspan(static_cast<std::size_t>(33 * b), 33));
    const auto expected = drawn.train_step(bytes), report = given.train_on({ids.data(), {4, 33}});
    CHECK(report.step == step + 1);
    CHECK(report.loss.total == expected.loss.total);
    CHECK(report.gradient_norm == expected.gradient_norm);
    CHECK(report.learning_rate == expected.learning_rate);
  }
  CHECK(same_bits(strata::weights_of(given.model()), strata::weights_of(drawn.model())));
}

TEST_CASE("a step on the rows of a corpus of one text is the step on its bytes") {
  strata::reference<float> backend;
  trainer_type<strata::reference<float>> of_bytes(backend, options()), of_rows(backend, options());
  const auto bytes = some_text();
  strata::buffer<std::byte> copy(std::ssize(bytes));
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  std::vector<strata::token_file> files;
  files.emplace_back(strata::file_reader(std::move(copy), "text"), strata::token_format::bytes);
  const strata::corpus all(std::move(files), {});
  const strata::random_rows rows(strata::whole(all), of_rows.options().seed);
  for (int n = 0; n < 3; ++n) CHECK(of_bytes.train_step(bytes).loss.total == of_rows.train_step(rows).loss.total);
  CHECK(same_bits(strata::weights_of(of_bytes.model()), strata::weights_of(of_rows.model())));
  CHECK(of_bytes.evaluate(bytes, 7) == of_rows.evaluate(strata::corpus_windows(strata::whole(all), 32), 7));
}

TEST_CASE("an evaluation counts labels, not windows") {
  struct two_windows {
    strata::index_type count() const { return 2; }
    void copy(strata::index_type position, std::span<strata::token> ids) const {
      for (std::size_t t = 0; t < ids.size(); ++t)
        ids[t] = position == 1 && t > 4 ? strata::no_token : static_cast<strata::token>(7 * t % 50);
    }
  };
  strata::reference<float> backend;
  strata::training_options own = options();
  for (const strata::index_type batch : {1, 2}) {
    own.batch = batch;
    trainer_type<strata::reference<float>> trainer(backend, own);
    std::vector<strata::token> ids(33);
    two_windows().copy(0, ids);
    strata::loss_values<losses_type> weights;
    weights["cross_entropy"] = 1;
    const double long_one = trainer.model().losses({ids.data(), {1, 33}}, weights).total;
    const double short_one = trainer.model().losses({ids.data(), {1, 5}}, weights).total;
    CHECK(trainer.evaluate(two_windows()) == Approx((32 * long_one + 4 * short_one) / 36).epsilon(1e-6));
  }
}

TEST_CASE("rows of any shape can be trained on, and the loss falls") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  const auto bytes = some_text();
  const std::vector<strata::token> ids(bytes.begin(), bytes.begin() + 6 * 50);
  const double before = trainer.train_on({ids.data(), {6, 50}}).loss.total;
  for (int n = 0; n < 10; ++n) {
    trainer.train_on({ids.data(), {1, 2}});
    trainer.train_on({ids.data(), {3, 100}});  // longer than the model's max_length
  }
  CHECK(trainer.train_on({ids.data(), {6, 50}}).loss.total < before);
  CHECK(trainer.step() == 22);
}

TEST_CASE("rows that cannot be trained on change nothing") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  weights_after(trainer, 2);
  const auto before = strata::weights_of(trainer.model());
  std::vector<strata::token> ids(10, 7);
  CHECK_THAT(message_of([&] {
               trainer.train_on({ids.data(), {10, 1}});
             }),
             ContainsSubstring("a loss needs at least 2 tokens a row, but was given [10, 1]"));
  CHECK_THAT(message_of([&] { trainer.train_on({ids.data(), {0, 5}}); }), ContainsSubstring("[0, 4]"));
  ids[7] = 256;
  CHECK_THAT(message_of([&] {
               trainer.train_on({ids.data(), {2, 5}});
             }),
             ContainsSubstring("token id 256 at row 1, position 2 is outside the vocabulary of 256"));
  CHECK(trainer.step() == 2);
  CHECK(same_bits(before, strata::weights_of(trainer.model())));
}

TEST_CASE("an evaluation on a few windows spreads them over the text") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  const auto bytes = some_text();
  const strata::window_sequence windows(bytes, 32);
  auto weights = strata::loss_values<losses_type>::default_weights();
  for (std::size_t j = 1; j < weights.count; ++j) weights[j] = 0;
  double expected = 0;
  for (const strata::index_type window : {strata::index_type{0}, windows.count() / 3, 2 * windows.count() / 3}) {
    std::vector<strata::token> ids(33);
    windows.copy(window, ids);
    expected += trainer.model().losses({ids.data(), {1, 33}}, weights).total / 3;
  }
  CHECK(trainer.evaluate(bytes, 3) == Approx(expected).epsilon(1e-5));
  CHECK(trainer.evaluate(bytes, 1 << 20) == trainer.evaluate(bytes));
}

TEST_CASE("the same seed gives the same bits, another seed does not") {
  for (const int threads : {1, 2}) {
    strata::cpu backend({.threads = threads});
    trainer_type<strata::cpu> one(backend, options()), same(backend, options());
    const auto weights = weights_after(one, 20);
    CHECK(same_bits(weights, weights_after(same, 20)));
    auto others = options();
    others.seed = 2;
    trainer_type<strata::cpu> other(backend, others);
    CHECK(!same_bits(weights, weights_after(other, 20)));
  }
}

TEST_CASE("thread counts agree to rounding, and the reference backend with them") {
  strata::reference<float> plain;
  trainer_type<strata::reference<float>> expected(plain, options());
  const auto bytes = some_text();
  weights_after(expected, 10);
  const double loss = expected.evaluate(bytes);
  for (const int threads : {1, 2, 3}) {
    strata::cpu backend({.threads = threads});
    trainer_type<strata::cpu> trainer(backend, options());
    weights_after(trainer, 10);
    CHECK(trainer.evaluate(bytes) == Approx(loss).epsilon(1e-4));
  }
}

TEST_CASE("a run without the merge neither uses nor trains its weights, and goes on without it") {
  const folder temporary;
  const auto path = temporary.path / "checkpoint.safetensors";
  strata::cpu backend;
  auto chosen = options();
  chosen.weight_decay = 0;
  trainer_type<strata::cpu> merged(backend, chosen), started(backend, chosen);
  chosen.merge = false;
  trainer_type<strata::cpu> unmerged(backend, chosen), resumed(backend);
  const auto bytes = some_text();
  CHECK(unmerged.evaluate(bytes) != merged.evaluate(bytes));

  const auto start = strata::weights_of(started.model()), trained = weights_after(unmerged, 3);
  for (const strata::parameter_entry& entry : parameters::entries()) {
    if (entry.kind == strata::parameter_kind::constant) continue;
    INFO(entry.name);
    const bool same = std::equal(trained.begin() + entry.offset, trained.begin() + entry.offset + entry.size,
                                 start.begin() + entry.offset);
    CHECK(same == entry.name.starts_with("hierarchical_merges"));
  }
  unmerged.save(path);
  resumed.resume(path);
  CHECK(resumed.evaluate(bytes) == unmerged.evaluate(bytes));
  CHECK(same_bits(weights_after(resumed, 6), weights_after(unmerged, 6)));
}

TEST_CASE("a checkpoint continues as if the run had never stopped") {
  const folder temporary;
  const auto path = temporary.path / "checkpoint.safetensors";
  for (const auto optimizer :
       {strata::optimizer_kind::adamw, strata::optimizer_kind::adam, strata::optimizer_kind::muon}) {
    auto chosen = options();
    chosen.optimizer = optimizer;
    losses_type losses;
    losses.ignore_index = 'e';
    losses.weight("reconstruction") = 0.3;
    losses.get<quantized>().source = strata::quantized_source::final_embeddings;
    strata::cpu backend;
    trainer_type<strata::cpu> whole(backend, chosen, losses), first_half(backend, chosen, losses);
    weights_after(first_half, 9);
    first_half.save(path, {{"anything", 5}});
    trainer_type<strata::cpu> second_half(backend);  // all options come from the file
    second_half.model().recompute_activations(
        optimizer == strata::optimizer_kind::adamw);  // no option of the run: it changes no bit
    CHECK(second_half.resume(path).note.at("anything") == 5);
    CHECK(second_half.step() == 9);
    CHECK(second_half.options().dropout == options().dropout);
    CHECK(second_half.losses().weight("reconstruction") == 0.3);
    CHECK(second_half.losses().ignore_index == 'e');
    CHECK(second_half.losses().get<quantized>().source == strata::quantized_source::final_embeddings);
    CHECK(same_bits(weights_after(whole, 20), weights_after(second_half, 20)));
  }
}

TEST_CASE("weights survive a file, also that of a checkpoint") {
  const folder temporary;
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  const auto trained = weights_after(trainer, 2);
  const auto weights = temporary.path / "weights.safetensors", checkpoint = temporary.path / "checkpoint.safetensors";
  strata::save_weights(trainer.model(), weights);
  trainer.save(checkpoint);
  for (const auto& path : {weights, checkpoint}) {
    strata::transformer<narrow, strata::cpu, losses_type> model(backend);
    strata::load_weights(model, path);
    CHECK(same_bits(trained, strata::weights_of(model)));
    strata::transformer<narrow, strata::cpu, strata::inference> writes(backend);
    strata::load_weights(writes, path);
    const auto of_network = strata::weights_of(writes);
    for (const auto& entry : decltype(writes)::parameters_type::entries()) {
      INFO(entry.name);
      const auto same = std::find_if(parameters::entries().begin(), parameters::entries().end(),
                                     [&](const auto& other) { return other.name == entry.name; });
      REQUIRE(same != parameters::entries().end());
      CHECK(std::equal(of_network.begin() + entry.offset, of_network.begin() + entry.offset + entry.size,
                       trained.begin() + same->offset));
    }
  }
  // The constants that the reference package keeps in its state dict.
  const strata::safetensors_file file = strata::safetensors_file::read(weights);
  CHECK(file.entry("layers.1.1.attn.attn_fn.rel_pos.inv_freq").shape == std::vector<strata::index_type>{8});
  CHECK(file.values<double>("layers.1.1.attn.attn_fn.rel_pos.inv_freq")[1] == Approx(std::pow(10000.0, -2.0 / 16)));
}

TEST_CASE("a file that does not fit is named with what differs and changes nothing") {
  const folder temporary;
  const auto path = temporary.path / "checkpoint.safetensors", weights = temporary.path / "weights.safetensors";
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  trainer.save(path);

  strata::trainer<wider, strata::cpu, losses_type> other(backend, options());
  const auto before = strata::weights_of(other.model());
  const std::string message = message_of([&] { other.resume(path); });
  CHECK_THAT(message, ContainsSubstring("checkpoint.safetensors"));
  CHECK_THAT(message, ContainsSubstring("level 1: dim is 32 in the file, but 40 in the model"));
  CHECK_THAT(message_of([&] { strata::load_weights(other.model(), path); }),
             ContainsSubstring("level 1: dim is 32 in the file, but 40 in the model"));

  // Without a description in the file, the shapes decide, as they do for the heads of losses.
  const auto values = strata::weights_of(trainer.model());
  strata::safetensors_writer writer;
  strata::add_parameters<parameters>(writer, "", values);
  writer.write(weights);
  const std::string of_shapes = message_of([&] { strata::load_weights(other.model(), weights); });
  CHECK_THAT(of_shapes, ContainsSubstring("weights.safetensors"));
  CHECK_THAT(of_shapes, ContainsSubstring("'token_emb.weight' has shape [256, 32] in the file"));
  CHECK_THAT(of_shapes, ContainsSubstring("[256, 40]"));
  CHECK(same_bits(before, strata::weights_of(other.model())));
  strata::trainer<another_window, strata::cpu, losses_type> same_shapes(backend, options());
  CHECK_THAT(message_of([&] { same_shapes.resume(path); }),
             ContainsSubstring("level 0: window is 8 in the file, but 7 in the model"));

  strata::save_weights(trainer.model(), path);  // no moments, no options
  CHECK_THAT(message_of([&] { trainer.resume(path); }), ContainsSubstring("no state of a training run"));
  CHECK_THAT(message_of([&] { trainer.resume(temporary.path / "missing"); }), ContainsSubstring("missing"));
}

TEST_CASE("a loss that is not finite stops with its step and changes no weight") {
  strata::cpu backend;
  trainer_type<strata::cpu> trainer(backend, options());
  weights_after(trainer, 3);
  trainer.model().weights()(parameters::layout.network.head.to_logits.offset + 17) =
      std::numeric_limits<float>::quiet_NaN();
  const auto before = strata::weights_of(trainer.model());
  const auto bytes = some_text();
  CHECK_THAT(message_of([&] { trainer.train_step(bytes); }), ContainsSubstring("at step 4"));
  CHECK(trainer.step() == 3);
  CHECK(same_bits(before, strata::weights_of(trainer.model())));
  const folder temporary;
  CHECK_THAT(message_of([&] { trainer.save(temporary.path / "x"); }), ContainsSubstring("not finite after step 3"));
  CHECK(!std::filesystem::exists(temporary.path / "x"));
}

TEST_CASE("the schedule warms up, peaks and ends at its fraction") {
  const strata::schedule_options schedule{.peak = 1, .final_fraction = 0.1, .warmup = 10, .steps = 110};
  CHECK(strata::learning_rate(schedule, 0) == Approx(0.1));
  CHECK(strata::learning_rate(schedule, 9) == Approx(1));
  CHECK(strata::learning_rate(schedule, 10) == Approx(1));
  CHECK(strata::learning_rate(schedule, 60) == Approx(0.55));
  CHECK(strata::learning_rate(schedule, 110) == Approx(0.1));
  CHECK(strata::learning_rate(schedule, 5000) == Approx(0.1));
  CHECK(strata::learning_rate({.peak = 1, .warmup = 0, .steps = 1}, 0) == Approx(1));
}

TEST_CASE("the rate can stay at its peak and fall in the last part of a run") {
  strata::schedule_options schedule{.peak = 1,
                                    .final_fraction = 0.1,
                                    .warmup = 10,
                                    .steps = 110,
                                    .decay = strata::decay_kind::linear,
                                    .decay_fraction = 0.4};
  CHECK(strata::learning_rate(schedule, 9) == Approx(1));
  CHECK(strata::learning_rate(schedule, 70) == Approx(1));
  CHECK(strata::learning_rate(schedule, 80) == Approx(0.1 + 0.9 * 0.75));
  CHECK(strata::learning_rate(schedule, 110) == Approx(0.1));
  CHECK(strata::learning_rate(schedule, 5000) == Approx(0.1));
  schedule.decay = strata::decay_kind::cosine;
  CHECK(strata::learning_rate(schedule, 70) == Approx(1));
  CHECK(strata::learning_rate(schedule, 90) == Approx(0.55));
  schedule.decay_fraction = 0;
  CHECK(strata::learning_rate(schedule, 109) == 1);
}

TEST_CASE("nonsense options are refused by name") {
  strata::cpu backend;
  const auto refused = [&](auto change) {
    auto chosen = options();
    change(chosen);
    return message_of([&] { trainer_type<strata::cpu>(backend, chosen); });
  };
  CHECK_THAT(refused([](auto& o) { o.batch = 0; }), ContainsSubstring("batch must be positive, not 0"));
  CHECK_THAT(refused([](auto& o) { o.length = -3; }), ContainsSubstring("length must be positive, not -3"));
  CHECK_THAT(refused([](auto& o) { o.schedule.peak = std::nan(""); }), ContainsSubstring("learning_rate"));
  CHECK_THAT(refused([](auto& o) { o.schedule.decay_fraction = 1.5; }),
             ContainsSubstring("decay_fraction must be from 0 to 1, not 1.5"));
  CHECK_THAT(refused([](auto& o) { o.beta2 = 1; }), ContainsSubstring("beta2 must be in [0, 1), not 1"));
  CHECK_THAT(refused([](auto& o) { o.max_norm = -1; }), ContainsSubstring("max_norm must not be negative"));
  CHECK_THAT(refused([](auto& o) { o.dropout.embedding = 1; }),
             ContainsSubstring("dropout.embedding must be in [0, 1), not 1"));
  CHECK_THAT(refused([](auto& o) { o.dropout.attention = -0.1; }),
             ContainsSubstring("dropout.attention must be in [0, 1), not -0.1"));
  CHECK_THAT(refused([](auto& o) { o.dropout.feed_forward = std::nan(""); }),
             ContainsSubstring("dropout.feed_forward must be in [0, 1), not nan"));
}

TEST_CASE("muon updates the hidden matrices, query, key and value apart, and AdamW all else") {
  using backend_type = strata::reference<double>;
  backend_type backend;
  auto chosen = options();
  chosen.optimizer = strata::optimizer_kind::muon;
  chosen.muon = {.learning_rate = 0.03, .momentum = 0.9, .weight_decay = 0.2};
  chosen.schedule = {.peak = 0.004, .warmup = 4, .steps = 20};
  trainer_type<backend_type> trainer(backend, chosen);
  const auto before = strata::weights_of(trainer.model());
  const auto report = trainer.train_step(some_text());
  const auto after = strata::weights_of(trainer.model());
  CHECK(report.learning_rate == Approx(0.001));

  const auto same = [&](strata::index_type offset, const std::vector<double>& expected) {
    double worst = 0;
    for (std::size_t n = 0; n < expected.size(); ++n)
      worst = std::max(worst, std::abs(after[static_cast<std::size_t>(offset) + n] - expected[n]));
    return worst < 1e-12;
  };
  const double squares = report.gradient_norm * report.gradient_norm;
  const strata::view<const double, 1> measures{&squares, {1}};
  std::set<std::string> hidden;
  for (const auto& entry : parameters::entries()) {
    INFO(entry.name);
    const auto gradient = trainer.model().gradient_of(entry);
    std::vector<double> weight(before.begin() + entry.offset, before.begin() + entry.offset + entry.size);
    std::vector<double> first(weight.size()), second(weight.size());
    const auto whole = [&](auto& values) { return strata::view<double, 1>{values.data(), {entry.size}}; };
    const strata::view<const double, 1> slope{gradient.data(), {entry.size}};
    if (entry.kind == strata::parameter_kind::hidden_matrix) {
      hidden.insert(entry.name);
      CHECK(entry.parts == (entry.name.ends_with(".to_qkv.weight") ? 3 : 1));
      const strata::index_type rows = entry.shape[0] / entry.parts, columns = entry.size / entry.shape[0];
      std::vector<strata::matrix_place> places;
      for (int part = 0; part < entry.parts; ++part) places.push_back({part * rows * columns, rows, columns});
      muon(backend, {.learning_rate = 0.03 / 4, .momentum = 0.9, .weight_decay = 0.2}, places, slope, measures,
           whole(weight), whole(first), whole(second));
    } else if (entry.kind != strata::parameter_kind::constant) {
      const bool decays = entry.kind == strata::parameter_kind::other_matrix;
      adam(backend, {.learning_rate = 0.001, .decayed = decays ? entry.size : 0}, slope, measures, whole(weight),
           whole(first), whole(second));
    }
    CHECK(same(entry.offset, weight));
  }
  CHECK(hidden.contains("layers.0.0.attn.to_qkv.weight"));
  CHECK(hidden.contains("layers.1.1.ff.net.3.weight"));
  CHECK(hidden.contains("compressors.1.compress_fn.1.conv.weight"));
  CHECK(hidden.contains("hierarchical_merges.0.net.1.weight"));
  CHECK(!hidden.contains("token_emb.weight"));
  CHECK(!hidden.contains("to_logits.weight"));
  CHECK(std::none_of(hidden.begin(), hidden.end(), [](const auto& name) {
    return name.find("to_recon") != name.npos || name.find("to_hierarchical_preds") != name.npos;
  }));
}

TEST_CASE("groups of parameters learn at their own rates, or not at all") {
  using B = strata::reference<float>;
  B backend;
  const auto& entries = parameters::entries();
  for (const auto optimizer : {strata::optimizer_kind::adamw, strata::optimizer_kind::muon}) {
    CAPTURE(optimizer);
    strata::training_options own = options();
    own.optimizer = optimizer;
    const auto trained = [&](std::vector<strata::parameter_group> groups) {
      trainer_type<B> trainer(backend, own);
      trainer.set_groups(std::move(groups));
      return weights_after(trainer, 2);
    };
    const std::vector<float> start = strata::weights_of(trainer_type<B>(backend, own).model());
    const auto plain = trained({});
    // Groups that change nothing cut the updates into pieces: the bits stay.
    CHECK(same_bits(trained({{.pattern = "*"}, {.pattern = "layers.0.*.weight", .rate = 1}}), plain));
    trainer_type<B> still(backend, own);
    still.set_groups({{.pattern = "*", .frozen = true}});
    CHECK(still.train_step(some_text()).gradient_norm == 0);
    CHECK(same_bits(strata::weights_of(still.model()), start));
    const auto frozen = trained({{.pattern = "layers.1.*", .frozen = true}, {.pattern = "*ngram*", .frozen = true}});
    const auto halved = trained({{.pattern = "token_emb.weight", .rate = 0}, {.pattern = "layers.0.0.*", .rate = 0}});
    const auto decayed = trained({{.pattern = "layers.0.0.*", .weight_decay = 5}});
    int were_frozen = 0, had_rate_0 = 0, decayed_more = 0;
    for (const auto& entry : entries) {
      CAPTURE(entry.name);
      const auto same_in = [&](const std::vector<float>& x, const std::vector<float>& y) {
        return std::equal(x.begin() + entry.offset, x.begin() + entry.offset + entry.size, y.begin() + entry.offset);
      };
      const bool changes = !same_in(plain, start);
      const bool is_frozen = entry.name.starts_with("layers.1.") || entry.name.find("ngram") != std::string::npos;
      CHECK(same_in(frozen, start) == (is_frozen || !changes));
      were_frozen += is_frozen && changes;
      const bool has_rate_0 = entry.name == "token_emb.weight" || entry.name.starts_with("layers.0.0.");
      CHECK(same_in(halved, start) == (has_rate_0 || !changes));
      had_rate_0 += has_rate_0 && changes;
      if (!entry.name.starts_with("layers.0.0.")) continue;
      const bool matrix =
          entry.kind == strata::parameter_kind::hidden_matrix || entry.kind == strata::parameter_kind::other_matrix;
      double size_plain = 0, size_decayed = 0;
      for (auto n = entry.offset; n < entry.offset + entry.size; ++n) {
        size_plain += std::abs(static_cast<double>(plain[static_cast<std::size_t>(n)]));
        size_decayed += std::abs(static_cast<double>(decayed[static_cast<std::size_t>(n)]));
      }
      if (matrix) CHECK(size_decayed < size_plain);
      decayed_more += matrix;
    }
    CHECK((were_frozen > 3 && had_rate_0 > 2 && decayed_more > 2));
  }
}

TEST_CASE("groups are kept by checkpoints, and nonsense is refused by name") {
  const folder directory;
  strata::reference<float> backend;
  const std::vector<strata::parameter_group> groups{
      {.pattern = "layers.0.*", .rate = 0.5}, {.pattern = "token_emb.?eight", .weight_decay = 0.2, .frozen = true}};
  trainer_type<strata::reference<float>> whole(backend, options()), half(backend, options()), rest(backend, options());
  whole.set_groups(groups);
  half.set_groups(groups);
  weights_after(half, 3);
  half.save(directory.path / "checkpoint");
  rest.resume(directory.path / "checkpoint");
  CHECK(rest.groups() == groups);
  CHECK(same_bits(weights_after(rest, 6), weights_after(whole, 6)));
  const auto setting = [&](strata::parameter_group group) { return message_of([&] { rest.set_groups({group}); }); };
  CHECK_THAT(setting({.pattern = "layer.0.*"}),
             ContainsSubstring("no parameter has a name like \"layer.0.*\"; names are token_emb.weight, "));
  CHECK_THAT(setting({.pattern = "*", .rate = -1}), ContainsSubstring("the rate of the parameters \"*\""));
  CHECK_THAT(setting({.pattern = "*", .weight_decay = -1}), ContainsSubstring("the weight decay of the parameters"));
  CHECK(rest.groups() == groups);
}

TEST_CASE("an optimizer of one's own updates every parameter, and resumes bit for bit") {
  using B = strata::reference<float>;
  const folder directory;
  B backend;
  const auto bytes = some_text();
  // AdamW written again: the built-in optimizer must agree with it.
  const auto own_adam = [](const strata::parameter_update<float>& each) {
    const double rest1 = 1 - std::pow(0.9, static_cast<double>(each.step));
    const double rest2 = 1 - std::pow(0.99, static_cast<double>(each.step));
    for (strata::index_type n = 0; n < each.weight.size(); ++n) {
      const double g = each.clip * static_cast<double>(each.gradient(n));
      const double first = 0.9 * static_cast<double>(each.first_moment(n)) + 0.1 * g;
      const double second = 0.99 * static_cast<double>(each.second_moment(n)) + 0.01 * g * g;
      const double weight = static_cast<double>(each.weight(n));
      const double direction = first / rest1 / (std::sqrt(second / rest2) + 1e-8) + each.weight_decay * weight;
      each.weight(n) = static_cast<float>(weight - each.learning_rate * direction);
      each.first_moment(n) = static_cast<float>(first);
      each.second_moment(n) = static_cast<float>(second);
    }
  };
  const std::vector<strata::parameter_group> groups{{.pattern = "layers.0.*", .rate = 0.5},
                                                    {.pattern = "token_emb.weight", .frozen = true}};
  for (const bool grouped : {false, true}) {
    CAPTURE(grouped);
    trainer_type<B> built_in(backend, options()), own(backend, options());
    own.set_optimizer("adam of mine", own_adam);
    if (grouped) built_in.set_groups(groups), own.set_groups(groups);
    const auto expected = weights_after(built_in, 3), got = weights_after(own, 3);
    for (const auto& entry : parameters::entries()) {
      CAPTURE(entry.name);
      double largest = 0;
      for (auto n = static_cast<std::size_t>(entry.offset); n < static_cast<std::size_t>(entry.offset + entry.size);
           ++n)
        largest = std::max(largest, std::abs(static_cast<double>(got[n]) - static_cast<double>(expected[n])));
      CHECK(largest < 2e-6);
    }
  }
  const auto lion = [](const strata::parameter_update<float>& each) {
    for (strata::index_type n = 0; n < each.weight.size(); ++n) {
      const float g = static_cast<float>(each.clip) * each.gradient(n), mixed = 0.9f * each.first_moment(n) + 0.1f * g;
      const float sign = mixed > 0 ? 1.0f : mixed < 0 ? -1.0f : 0.0f;
      each.weight(n) -=
          static_cast<float>(each.learning_rate) * (sign + static_cast<float>(each.weight_decay) * each.weight(n));
      each.first_moment(n) = 0.99f * each.first_moment(n) + 0.01f * g;
    }
  };
  trainer_type<B> whole(backend, options()), half(backend, options()), rest(backend, options()),
      other(backend, options());
  for (auto* each : {&whole, &half, &rest}) each->set_optimizer("lion", lion);
  weights_after(half, 3);
  half.save(directory.path / "checkpoint");
  CHECK_THAT(message_of([&] { other.resume(directory.path / "checkpoint"); }),
             ContainsSubstring("was trained by the optimizer \"lion\", but this trainer has none of one's own"));
  other.save(directory.path / "plain");
  CHECK_THAT(message_of([&] { rest.resume(directory.path / "plain"); }),
             ContainsSubstring("was trained by an optimizer of the options, but this trainer has \"lion\""));
  rest.resume(directory.path / "checkpoint");
  CHECK(same_bits(weights_after(rest, 6), weights_after(whole, 6)));
  CHECK_THAT(message_of([&] { rest.set_optimizer("", lion); }), ContainsSubstring("needs a name and a function"));

  // A step that is not finite never reaches it.
  strata::training_options careful = options();
  careful.most_skipped = 1;
  trainer_type<B> stopped(backend, careful);
  int calls = 0;
  stopped.set_optimizer("counter", [&](const auto&) { ++calls; });
  stopped.set_hooks([](auto all) { all[0].gradient(0) = std::numeric_limits<float>::infinity(); }, {});
  CHECK(stopped.train_step(bytes).skipped);
  CHECK(calls == 0);
}

TEST_CASE("a pattern matches names") {
  using strata::detail::matches;
  STATIC_REQUIRE(matches("*", "") && matches("*", "a.b") && matches("a.*.c", "a.b.b.c") && matches("a?c", "abc"));
  STATIC_REQUIRE(matches("*b*b", "abab") && matches("**a", "ba") && matches("", ""));
  STATIC_REQUIRE_FALSE(matches("a", "ab") || matches("ab", "a") || matches("a*c", "acb") || matches("?", ""));
}

TEST_CASE("hooks see every parameter after backward and after the update, and may change gradients") {
  using B = strata::reference<float>;
  B backend;
  trainer_type<B> plain(backend, options()), hooked(backend, options());
  int before = 0, after = 0;
  std::vector<float> at_backward;
  hooked.set_hooks(
      [&](auto all) {
        ++before;
        CHECK(all.size() == parameters::entries().size());
        for (const auto& each : all) {
          if (each.name == "token_emb.weight")
            at_backward.assign(each.weight.data, each.weight.data + each.weight.size());
          for (strata::index_type n = 0; n < each.gradient.size(); ++n) each.gradient(n) *= 2;
        }
      },
      [&](auto all) {
        ++after;
        for (const auto& each : all)
          if (each.name == "token_emb.weight")
            CHECK(!std::equal(at_backward.begin(), at_backward.end(), each.weight.data));
      });
  const auto bytes = some_text();
  const auto one = plain.train_step(bytes), two = hooked.train_step(bytes);
  CHECK((before == 1 && after == 1));
  CHECK(two.gradient_norm > 1.5 * one.gradient_norm);
  CHECK(two.loss.total == one.loss.total);
}

TEST_CASE("a step that is not finite is skipped as often as allowed") {
  using B = strata::reference<float>;
  B backend;
  auto own = options();
  own.most_skipped = 2;
  trainer_type<B> trainer(backend, own);
  bool broken = false;
  trainer.set_hooks(
      [&](auto all) {
        if (broken) all.front().gradient(0) = std::numeric_limits<float>::infinity();
      },
      {});
  const auto bytes = some_text();
  CHECK_FALSE(trainer.train_step(bytes).skipped);
  const auto before = strata::weights_of(trainer.model());
  broken = true;
  for (int n = 1; n <= 2; ++n) {
    const auto report = trainer.train_step(bytes);
    CHECK((report.skipped && report.step == n + 1));
    CHECK(trainer.skipped() == n);
  }
  CHECK(same_bits(strata::weights_of(trainer.model()), before));
  CHECK_THAT(message_of([&] { trainer.train_step(bytes); }),
             ContainsSubstring("at step 4, and as many steps as allowed were skipped before"));
  CHECK(trainer.step() == 3);
  const folder directory;
  trainer.save(directory.path / "checkpoint");
  trainer_type<B> rest(backend, options());
  rest.resume(directory.path / "checkpoint");
  CHECK(rest.skipped() == 2);
}

TEST_CASE("sizes grow by doubling in equal parts of the steps") {
  using strata::grown;
  const auto sizes = [](strata::index_type first, strata::index_type last, strata::index_type steps) {
    std::vector<strata::index_type> all;
    for (strata::index_type step = 0; step <= steps; ++step) all.push_back(grown(first, last, step, steps));
    return all;
  };
  using list = std::vector<strata::index_type>;
  CHECK(sizes(1, 4, 4) == list{1, 1, 2, 2, 4});
  CHECK(sizes(3, 10, 4) == list{3, 3, 6, 6, 10});
  CHECK(sizes(5, 5, 2) == list{5, 5, 5});
  CHECK(grown(9, 5, 0, 8) == 5);
  CHECK(grown(1, 512, 0, 0) == 512);
}

TEST_CASE("batch and length grow, and a checkpoint within the growth continues bit for bit") {
  struct watched {
    mutable std::vector<std::pair<strata::index_type, std::size_t>> rows;
    void fill(strata::index_type step, strata::index_type row, std::span<strata::token> ids) const {
      rows.push_back({row, ids.size()});
      for (std::size_t t = 0; t < ids.size(); ++t)
        ids[t] = static_cast<strata::token>(
            (7 * static_cast<std::size_t>(step) + 3 * static_cast<std::size_t>(row) + t) % 50);
    }
  };
  auto own = options();
  own.growth = 4, own.first_batch = 1, own.first_length = 8;
  strata::reference<float> backend;
  trainer_type<strata::reference<float>> whole(backend, own), half(backend, own), rest(backend, options());
  const watched source;
  whole.train_step(source);  // 2 passes of one row of 8
  CHECK(source.rows == std::vector<std::pair<strata::index_type, std::size_t>>{{0, 9}, {1, 9}});
  while (whole.step() < 3) whole.train_step(source);
  CHECK(source.rows.back() == std::pair<strata::index_type, std::size_t>{3, 17});
  while (whole.step() < 6) whole.train_step(source);
  CHECK(source.rows.back() == std::pair<strata::index_type, std::size_t>{7, 33});
  const folder directory;
  while (half.step() < 3) half.train_step(source);
  half.evaluate(some_text(), 2);
  half.save(directory.path / "checkpoint");
  rest.resume(directory.path / "checkpoint");
  while (rest.step() < 6) rest.train_step(source);
  CHECK(same_bits(strata::weights_of(rest.model()), strata::weights_of(whole.model())));
}

TEST_CASE("a schedule of one's own replaces the other") {
  strata::reference<float> backend;
  trainer_type<strata::reference<float>> trainer(backend, options());
  trainer.set_schedule([](strata::index_type step) { return step == 0 ? 0.5 : step == 1 ? 0.0 : -1.0; });
  const auto bytes = some_text();
  CHECK(trainer.train_step(bytes).learning_rate == Approx(1.5e-3));
  const auto before = strata::weights_of(trainer.model());
  CHECK(trainer.train_step(bytes).learning_rate == 0);
  CHECK(same_bits(strata::weights_of(trainer.model()), before));
  CHECK_THAT(message_of([&] { trainer.train_step(bytes); }), ContainsSubstring("set_schedule returned -1 at step 2"));
}

TEST_CASE("an average of the weights is kept, used for a while, and resumed") {
  using B = strata::reference<float>;
  B backend;
  auto own = options();
  own.average = 0.6;
  trainer_type<B> trainer(backend, own);
  // The average starts with the weights that the first step starts with.
  auto start = own;
  start.seed = 9;
  std::vector<float> expected = strata::weights_of(trainer_type<B>(backend, start).model());
  strata::set_weights(trainer.model(), expected);
  const auto bytes = some_text();
  for (int n = 0; n < 5; ++n) {
    trainer.train_step(bytes);
    const auto weights = strata::weights_of(trainer.model());
    const float keep = std::min(0.6f, static_cast<float>(n + 1) / static_cast<float>(n + 10));
    for (std::size_t k = 0; k < weights.size(); ++k) expected[k] = keep * expected[k] + (1 - keep) * weights[k];
  }
  const auto weights = strata::weights_of(trainer.model());
  const auto average = trainer.with_average([&] { return strata::weights_of(trainer.model()); });
  double off = 0;
  for (std::size_t k = 0; k < weights.size(); ++k)
    off = std::max(off, std::abs(static_cast<double>(average[k]) - static_cast<double>(expected[k])));
  CHECK(off < 1e-6);
  CHECK_FALSE(same_bits(average, weights));
  CHECK(same_bits(strata::weights_of(trainer.model()), weights));
  // An error gives the weights back.
  message_of([&] { trainer.with_average([] { strata::fail("stop"); }); });
  CHECK(same_bits(strata::weights_of(trainer.model()), weights));

  const folder directory;
  trainer.save(directory.path / "checkpoint");
  trainer_type<B> rest(backend, options());
  CHECK(rest.resume(directory.path / "checkpoint").weights.unused.empty());
  for (auto* each : {&trainer, &rest})
    for (int n = 0; n < 2; ++n) each->train_step(bytes);
  CHECK(same_bits(trainer.with_average([&] { return strata::weights_of(trainer.model()); }),
                  rest.with_average([&] { return strata::weights_of(rest.model()); })));
  trainer_type<B> without(backend, options());
  CHECK_THAT(message_of([&] { without.with_average([] {}); }), ContainsSubstring("keeps no average"));
}

TEST_CASE("the noise scale is what the noise in the gradients says, in tokens") {
  using B = strata::reference<double>;
  B backend;
  auto own = options();
  own.schedule.peak = 1e-9;
  own.most_skipped = 1;
  trainer_type<B> trainer(backend, own);
  trainer.measure_noise();
  // Each gradient is 0.01 everywhere and noise with the deviation 0.1.
  const strata::random_source random(7);
  trainer.set_hooks(
      [&](auto all) {
        std::uint64_t stream = 0;
        for (const auto& each : all) {
          ++stream;
          for (strata::index_type n = 0; n < each.gradient.size(); ++n) {
            const auto counter = static_cast<std::uint64_t>(n + 100000 * trainer.step());
            const double uniform = random.uniform(stream, counter) - 0.5;
            each.gradient(n) = 0.01 + 0.1 * std::sqrt(12.0) * uniform;
          }
          // A step that is skipped does not count.
          if (trainer.step() == 5 && each.gradient.size() > 0)
            each.gradient(0) = std::numeric_limits<double>::infinity();
        }
      },
      {});
  const auto bytes = some_text();
  CHECK(trainer.train_step(bytes).noise_scale == 0);
  double measured = 0;
  for (int n = 0; n < 20; ++n) measured = trainer.train_step(bytes).noise_scale;
  const auto& chosen = trainer.options();
  const double tokens = static_cast<double>(chosen.batch * chosen.accumulation * chosen.length);
  CHECK(measured == Approx(tokens * 0.1 * 0.1 / (0.01 * 0.01)).epsilon(0.2));
}

TEST_CASE("the norms of all parameters are those of their values") {
  using B = strata::reference<double>;
  B backend;
  trainer_type<B> trainer(backend, options());
  double squares = 0;
  trainer.set_hooks(
      [&](auto all) {
        for (strata::index_type n = 0; n < all[0].gradient.size(); ++n)
          squares += all[0].gradient(n) * all[0].gradient(n);
      },
      {});
  trainer.train_step(some_text());
  const auto norms = trainer.norms();
  const auto& entries = parameters::entries();
  REQUIRE(norms.size() == entries.size());
  CHECK(norms[0].name == entries[0].name);
  CHECK(norms[0].gradient == Approx(std::sqrt(squares)));
  const auto weights = strata::weights_of(trainer.model());
  for (std::size_t n = 0; n < norms.size(); ++n) {
    INFO(norms[n].name);
    double own = 0;
    for (auto k = entries[n].offset; k < entries[n].offset + entries[n].size; ++k)
      own += weights[static_cast<std::size_t>(k)] * weights[static_cast<std::size_t>(k)];
    CHECK(norms[n].weight == Approx(std::sqrt(own)));
    CHECK((norms[n].gradient > 0) ==
          (entries[n].kind != strata::parameter_kind::table && entries[n].kind != strata::parameter_kind::constant));
  }
}
