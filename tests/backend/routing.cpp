// route, add_routed, add_routed_backward.
#include <strata/layers/routed_branch.hpp>

#include "backend/setups.hpp"

namespace strata {

TEST_CASE("routing equals the reference") {
  for (const index_type positions : {1, 5, 67, 300})
    for (const int dilation : {1, 2, 8})
      for (const double capacity : {0.01, 0.3, 1.0}) {
        const index_type batch = 3, dim = positions % 64 + 4;
        level_facts level;
        level.capacity = capacity;
        level.dilation = dilation;
        const index_type most = routed_rows(level, positions);
        CAPTURE(positions, dilation, capacity, most);
        check_against_reference(1e-6, [&](auto& bench) {
          const auto scores = bench.normal({batch, positions}), gate = bench.unset({batch, most});
          const auto budget = bench.all(0, {dilation, batch});
          const auto rows = bench.tokens(0, 0, {batch, most});
          const auto x = bench.normal({batch * most, dim}), dx = bench.unset({batch * most, dim});
          const auto y = bench.normal({batch * positions, dim});
          const auto dscore = bench.unset({batch * positions});
          route(bench.backend, capacity, dilation, 0, scores, budget, rows, gate);
          bench.result("rows", rows);
          bench.result("gate", gate);
          bench.result("budget", budget);
          add_routed(bench.backend, rows.flat(), gate.flat(), x, y);
          bench.result("y", y);
          add_routed_backward(bench.backend, rows.flat(), gate.flat(), x, y, dx, dscore);
          bench.result("dx", dx);
          bench.result("dscore", dscore);
          add_routed_backward(bench.backend, rows.flat(), gate.flat(), x, y, x, dscore);
          bench.result("dx in place", x);
          bench.result("dscore of it", dscore);
        });
      }
}

TEST_CASE("routing: known values") {
  on_every_bench([](auto& bench) {
    // Half of the positions: the budget rises at every second one, from the first on.
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto scores = bench.of({-1, 1, 2, 3, nan, 5, 6, 0, 1, 1, 1, 1, 1, 1}, {2, 7});
    const auto gate = bench.unset({2, 5}), budget = bench.all(0, {1, 2});
    const auto rows = bench.tokens(0, 0, {2, 5});
    route(bench.backend, 0.5, 1, 0, scores, budget, rows, gate);
    CHECK(bench.read(rows) == std::vector<double>{1, 2, 5, 6, -1, 8, 9, 11, 13, -1});
    CHECK(relative_error(bench.read(gate), {std::tanh(1.0), std::tanh(2.0), std::tanh(5.0), std::tanh(6.0), 0,
                                            std::tanh(1.0), std::tanh(1.0), std::tanh(1.0), std::tanh(1.0), 0}) < 1e-6);
    CHECK(bench.read(budget) == std::vector<double>{0, 0});

    // Interleaved: three positions of one sequence, then two of the other.
    const auto two = bench.of({1, -1, 1, 1, 1}, {1, 5}), left = bench.all(0, {2, 1});
    const auto both = bench.tokens(0, 0, {1, 3});
    const auto weight = bench.unset({1, 3});
    route(bench.backend, 0.5, 2, 0, two, left, both, weight);
    CHECK(bench.read(both) == std::vector<double>{0, 4, 3});
    CHECK(bench.read(left) == std::vector<double>{0, 0});

    const auto y = bench.all(100, {3, 2}), dx = bench.unset({2, 2});
    const auto dscore = bench.unset({3});
    const auto named = bench.tokens_of({2, -1}, {2});
    const auto half = bench.of({0.5, 7}, {2});
    const auto x = bench.of({4, 6, 8, 8}, {2, 2});
    add_routed(bench.backend, named, half, x, y);
    CHECK(bench.read(y) == std::vector<double>{100, 100, 100, 100, 102, 103});
    const auto dy = bench.of({1, 2, 3, 4, 5, 6}, {3, 2});
    add_routed_backward(bench.backend, named, half, x, dy, dx, dscore);
    CHECK(bench.read(dx) == std::vector<double>{2.5, 3, 0, 0});
    CHECK(bench.read(dscore) == std::vector<double>{0, 0, 0.75 * 56});
  });
}

TEST_CASE("routing one position at a time selects what routing the whole selects") {
  for (const double capacity : {0.07, 0.5, 1.0})
    on_every_bench([&](auto& bench) {
      const int dilation = 3;
      const index_type positions = 100;
      level_facts level;
      level.capacity = capacity;
      level.dilation = dilation;
      const index_type most = routed_rows(level, positions);
      const auto scores = bench.normal({1, positions}), gate = bench.unset({1, most});
      const auto budget = bench.all(0, {dilation, 1}), steps = bench.all(0, {dilation, 1}), one = bench.unset({1, 1});
      const auto rows = bench.tokens(0, 0, {1, most}), row = bench.tokens(0, 0, {1, 1});
      route(bench.backend, capacity, dilation, 0, scores, budget, rows, gate);
      std::vector<double> expected;
      for (int sequence = 0; sequence < dilation; ++sequence)
        for (index_type j = 0; j < level.sequence_length(positions, sequence); ++j) {
          const index_type i = sequence + j * dilation;
          const strata::view<typename std::decay_t<decltype(bench)>::scalar, 2> score{scores.data + i, {1, 1}};
          route(bench.backend, capacity, 1, j, score, steps.slice(sequence, 1), row, one);
          if (bench.read(row)[0] == 0) expected.push_back(static_cast<double>(i));
        }
      CHECK(expected.size() >= 3);
      CHECK(static_cast<index_type>(expected.size()) <= most);
      expected.resize(static_cast<std::size_t>(most), -1);
      CHECK(bench.read(rows) == expected);
      CHECK(bench.read(steps) == bench.read(budget));
    });
}

TEST_CASE("a budget is the capacity of the positions, rounded up") {
  STATIC_REQUIRE(routing_budget(0.25, 0) == 0);
  STATIC_REQUIRE(routing_budget(0.25, 1) == 1);
  STATIC_REQUIRE(routing_budget(0.25, 4) == 1);
  STATIC_REQUIRE(routing_budget(0.25, 5) == 2);
  STATIC_REQUIRE(routing_budget(1, 1'000'000'007) == 1'000'000'007);
}

TEST_CASE("a budget in a float goes on after any number of positions") {
  on_every_bench([](auto& bench) {
    // Nothing was selected 2^24 times: the budget no longer grows, and each selection lowers it.
    const auto budget = bench.all(16777216, {1, 1}), gate = bench.unset({1, 1});
    const auto row = bench.tokens(0, 0, {1, 1});
    route(bench.backend, 1.0, 1, 16777216, bench.all(-1, {1, 1}), budget, row, gate);
    CHECK(bench.read(row)[0] == -1);
    route(bench.backend, 0.5, 1, 33554433, bench.all(1, {1, 1}), budget, row, gate);
    CHECK(bench.read(row)[0] == 0);
    CHECK(bench.read(budget)[0] == 16777215);
  });
}

}  // namespace strata
