// Rows of n-gram tables: which tokens they see, what a step changes, and how a step's work depends on the tables.
#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <strata/cpu.hpp>
#include <strata/reference.hpp>

#include "support/backends.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"
#include "support/numbers.hpp"

namespace of_ngrams {

using strata::index_type, strata::token;

/// One level, so that the embedding before its norm can be computed by hand.
struct flat : models::defaults {
  static constexpr strata::description description{
      .vocabulary = 6,
      .max_length = 16,
      .depth = 1,
      .levels = {{.dim = 4, .heads = 1, .head_dim = 2, .window = 3, .ngrams = {{.length = 3, .rows = 50}}}},
      .ngrams = {{.length = 2}}};
};
constexpr auto tables = models::facts<flat>::ngrams;

using training = strata::trainer<flat::description, strata::reference<double>, strata::losses<>>;
using training_parameters = training::parameters_type;

std::vector<std::uint8_t> some_text() {
  std::vector<std::uint8_t> bytes;
  for (int n = 0; n < 200; ++n) bytes.push_back(static_cast<std::uint8_t>(n * n % 11 % 6));
  return bytes;
}

/// The rows of table `k` that a step of `trainer` looks up.
std::set<token> rows_of_step(const training& trainer, std::size_t k) {
  const auto& options = trainer.options();
  std::set<token> rows;
  const auto bytes = some_text();
  for (index_type row = 0; row < options.batch * options.accumulation; ++row) {
    std::vector<token> ids(static_cast<std::size_t>(options.length + 1));
    strata::crop(bytes, strata::random_source(options.seed), static_cast<std::uint64_t>(trainer.step()),
                 static_cast<std::uint32_t>(row), ids);
    std::vector<token> found(static_cast<std::size_t>(options.length));
    ids.pop_back();
    strata::find_ngram_rows(tables[k], 6, ids, 0, found);
    rows.insert(found.begin(), found.end());
  }
  rows.erase(-1);
  return rows;
}

}  // namespace of_ngrams

TEST_CASE("the rows of all tables are added to the token embedding, from each text's own tokens") {
  using namespace of_ngrams;
  strata::reference<double> backend;
  models::training_model<flat, strata::reference<double>> model(backend, 3);
  const std::vector<token> ids{1, 2, 3, 4, 5, 0, 1, 2};
  model.forward({ids.data(), {2, 4}});
  const auto& layout = models::parameters<flat>::layout.network;
  const strata::tensor_memory<const double> weights{std::as_const(model).weights().data};
  const auto embedding = weights[layout.embedding.table], pairs = weights[layout.ngrams[0]],
             triples = weights[layout.ngrams[1]];
  for (index_type b = 0; b < 2; ++b)
    for (index_type t = 0; t < 4; ++t) {
      const token* const own = ids.data() + 4 * b + t;
      std::vector<double> sum(4), normed(4);
      double mean = 0, squares = 0;
      for (index_type d = 0; d < 4; ++d) {
        double& value = sum[static_cast<std::size_t>(d)] = embedding(*own, d);
        if (t >= 1) value += pairs(own[-1] * 6 + own[0], d);
        if (t >= 2) value += triples(strata::ngram_row(tables[1], 6, {own - 2, 3}), d);
        mean += value / 4;
      }
      for (const double value : sum) squares += (value - mean) * (value - mean) / 4;
      for (index_type d = 0; d < 4; ++d)
        CHECK(model.token_embeddings(0)(b, t, d) ==
              Approx((sum[static_cast<std::size_t>(d)] - mean) / std::sqrt(squares + 1e-5)).epsilon(1e-12));
    }
}

TEST_CASE("a step changes the rows that its texts look up, as Adam would, and no other row or moment") {
  using namespace of_ngrams;
  strata::reference<double> backend;
  strata::training_options options;
  options.batch = 2;
  options.length = 5;
  options.accumulation = 2;
  options.table_rate = 3;
  options.max_norm = 0.5;
  options.schedule = {.peak = 0.01, .warmup = 2, .steps = 10};
  training trainer(backend, options);
  const auto bytes = some_text();
  // What each row should be: Adam with the moments of the steps that looked it up.
  struct expected_row {
    std::vector<double> weight = std::vector<double>(4), first = weight, second = weight;
  };
  std::vector<std::vector<expected_row>> expected;
  for (const auto& table : tables) expected.emplace_back(static_cast<std::size_t>(table.rows));
  std::size_t most_touched = 0;
  for (int step = 1; step <= 4; ++step) {
    std::vector<std::set<token>> rows;
    for (std::size_t k = 0; k < tables.size(); ++k) rows.push_back(rows_of_step(trainer, k));
    const auto before = strata::weights_of(trainer.model());
    const auto report = trainer.train_step(bytes);
    double squares = 0;
    for (const auto& entry : training_parameters::entries())
      for (const double g : trainer.model().gradient_of(entry)) squares += g * g;
    CHECK(report.gradient_norm == Approx(std::sqrt(squares)).epsilon(1e-12));
    REQUIRE(report.gradient_norm > options.max_norm);  // so that clipping counts
    const auto weights = strata::weights_of(trainer.model());
    for (std::size_t k = 0; k < tables.size(); ++k) {
      most_touched = std::max(most_touched, rows[k].size());
      const auto offset = training_parameters::layout.network.ngrams[k].offset;
      const auto entry = std::ranges::find(training_parameters::entries(), offset, &strata::parameter_entry::offset);
      const std::vector<double> gradient = trainer.model().gradient_of(*entry);
      for (index_type row = 0; row < tables[k].rows; ++row) {
        CAPTURE(step, k, row);
        expected_row& own = expected[k][static_cast<std::size_t>(row)];
        for (std::size_t d = 0; d < 4; ++d) {
          if (rows[k].contains(static_cast<token>(row))) {
            const double g = gradient[static_cast<std::size_t>(row) * 4 + d] * options.max_norm / report.gradient_norm;
            own.first[d] = 0.9 * own.first[d] + 0.1 * g;
            own.second[d] = 0.99 * own.second[d] + 0.01 * g * g;
            own.weight[d] -= 3 * report.learning_rate * own.first[d] / (1 - std::pow(0.9, step)) /
                             (std::sqrt(own.second[d] / (1 - std::pow(0.99, step))) + 1e-8);
          } else {
            CHECK(gradient[static_cast<std::size_t>(row) * 4 + d] == 0);
          }
          const double got = weights[static_cast<std::size_t>(offset + row * 4) + d];
          CHECK(got == Approx(own.weight[d]).epsilon(1e-9).margin(1e-15));
          if (!rows[k].contains(static_cast<token>(row)))
            CHECK(got == before[static_cast<std::size_t>(offset + row * 4) + d]);
        }
      }
    }
  }
  CHECK(most_touched > 5);
  CHECK(most_touched < 30);
}

TEST_CASE("gradients of rows add up over passes of any size, and are cleared") {
  using namespace of_ngrams;
  models::on_every_backend([](auto& backend) {
    using backend_type = std::remove_cvref_t<decltype(backend)>;
    models::training_model<models::ngram_tables, backend_type> model(backend, 3);
    const auto gradient = [&] {
      std::vector<std::vector<double>> all;
      for (const auto& entry : models::parameters<models::ngram_tables>::entries()) {
        const auto own = model.gradient_of(entry);
        all.emplace_back(own.begin(), own.end());
      }
      return all;
    };
    // The second and third pass look up more rows than the first, so memory must grow.
    const auto ids = models::random_ids(9, 17, 5, 3);
    std::vector<std::vector<double>> sums;
    index_type first = 0;
    const auto pass = [&](index_type texts) {
      model.accumulate_gradients({ids.data() + first * 17, {texts, 17}});
      first += texts;
    };
    for (const index_type texts : {1, 3, 5}) {
      pass(texts);
      const auto own = gradient();
      if (sums.empty()) sums = std::vector(own.size(), std::vector<double>());
      for (std::size_t n = 0; n < own.size(); ++n) {
        sums[n].resize(own[n].size());
        for (std::size_t i = 0; i < own[n].size(); ++i) sums[n][i] += own[n][i];
      }
      model.clear_gradients();
      for (const auto& each : gradient()) CHECK(std::ranges::all_of(each, [](double g) { return g == 0; }));
    }
    models::training_model<models::ngram_tables, backend_type> again(backend, 3);
    std::swap(model, again);
    first = 0;
    for (const index_type texts : {1, 3, 5}) pass(texts);
    const auto own = gradient();
    for (std::size_t n = 0; n < own.size(); ++n) CHECK(relative_error(own[n], sums[n]) < 1e-5);
  });
}

TEST_CASE("tables are counted apart from other parameters") {
  using of_ngrams::flat;
  constexpr auto without = strata::with(flat::description, [](auto& d) { d.ngrams = {}, d.levels[0].ngrams = {}; });
  static constexpr auto plain = without;
  using cost = models::cost<flat>;
  STATIC_REQUIRE(cost::table_parameters == 36 * 4 + 50 * 4);
  STATIC_REQUIRE(cost::parameters - cost::table_parameters == strata::cost<plain>::parameters);
  STATIC_REQUIRE(cost::training_flops(2, 16) == strata::cost<plain>::training_flops(2, 16));
}
