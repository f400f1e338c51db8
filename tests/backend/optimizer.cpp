// squared_norm, adam, adam_rows.
#include "backend/setups.hpp"

namespace strata {

TEST_CASE("squared_norm equals the reference") {
  for (const index_type size : {1, 17, 4095, 4097, 40003}) {
    CAPTURE(size);
    check_against_reference(1e-6, [&](auto& bench) {
      const auto x = bench.normal({size}), result = bench.unset({1});
      squared_norm(bench.backend, x, result);
      bench.result("result", result);
    });
  }
}

TEST_CASE("adam equals the reference") {
  const auto check = [](index_type size, bool decoupled, double max_norm, index_type decayed) {
    CAPTURE(size, decoupled, max_norm, decayed);
    check_against_reference(2e-6, [&](auto& bench) {  // 1 - 0.99 loses two digits in float
      const auto weight = bench.normal({size}), norm = bench.unset({1});
      const auto first = bench.all(0, {size}), second = bench.all(0, {size});
      adam_settings settings{.learning_rate = 0.1, .decoupled = decoupled, .max_norm = max_norm, .decayed = decayed};
      for (settings.step = 1; settings.step <= 3; ++settings.step) {
        const auto gradient = bench.normal({size});
        squared_norm(bench.backend, gradient, norm);
        adam(bench.backend, settings, gradient, norm, weight, first, second);
      }
      bench.result("weight", weight);
      bench.result("first moment", first);
      bench.result("second moment", second);
    });
  };
  for (const index_type size : {1, 17, 2501})
    for (const bool decoupled : {true, false})
      for (const double max_norm : {0.0, 0.5, 1e6})
        for (const index_type decayed : {index_type{0}, size / 3, size}) check(size, decoupled, max_norm, decayed);
  for (const bool decoupled : {true, false}) check(10007, decoupled, 1, 3001);
}

TEST_CASE("adam: known values") {
  on_every_bench([](auto& bench) {
    const auto step = [&](adam_settings settings) {
      const auto gradient = bench.of({4, -3}, {2}), norm = bench.unset({1}), weight = bench.all(10, {2});
      const auto first = bench.all(0, {2}), second = bench.all(0, {2});
      squared_norm(bench.backend, gradient, norm);
      CHECK(bench.read(norm)[0] == Approx(25).epsilon(1e-6));
      adam(bench.backend, settings, gradient, norm, weight, first, second);
      CHECK(relative_error(bench.read(first), {0.1 * 4 / 5, 0.1 * -3 / 5}) < 1e-6);       // clipped to the norm 1
      CHECK(relative_error(bench.read(second), {0.01 * 16 / 25, 0.01 * 9 / 25}) < 1e-5);  // 1 - 0.99 in float
      return bench.read(weight);
    };
    // The first step moves every weight by the learning rate, against its gradient.
    CHECK(relative_error(step({.learning_rate = 0.5}), {9.5, 10.5}) < 1e-6);
    // Weight 0 also decays, by learning rate times decay times itself.
    CHECK(relative_error(step({.learning_rate = 0.5, .weight_decay = 0.1, .decayed = 1}), {9.5 - 0.5, 10.5}) < 1e-6);
  });
  on_every_bench([](auto& bench) {
    // Coupled decay is part of the gradient: 4 + 0.5 * 10, not clipped.
    const auto gradient = bench.of({4}, {1}), norm = bench.of({16}, {1}), weight = bench.of({10}, {1});
    const auto first = bench.all(0, {1}), second = bench.all(0, {1});
    adam(bench.backend, {.weight_decay = 0.5, .decoupled = false, .max_norm = 0, .decayed = 1}, gradient, norm, weight,
         first, second);
    CHECK(bench.read(first)[0] == Approx(0.9).epsilon(1e-6));
    CHECK(bench.read(weight)[0] == Approx(10 - 1e-3).epsilon(1e-6));
  });
}

TEST_CASE("adam changes nothing when the norm of the gradient or another measure is not finite") {
  constexpr double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& measures : {std::vector{infinity}, {nan}, {4., infinity, 2.}, {4., 3., nan}})
    on_every_bench([&](auto& bench) {
      const auto gradient = bench.normal({5003}),
                 norm = bench.of(measures, {static_cast<strata::index_type>(measures.size())});
      const auto weight = bench.normal({5003}), first = bench.normal({5003}), second = bench.all(1, {5003});
      const auto everything = [&] { return std::vector{bench.read(weight), bench.read(first), bench.read(second)}; };
      const auto before = everything();
      adam(bench.backend, {.decayed = 100}, gradient, norm, weight, first, second);
      CHECK(everything() == before);
      fill(bench.backend, 4.f, norm);
      adam(bench.backend, {.decayed = 100}, gradient, norm, weight, first, second);
      CHECK(everything() != before);
    });
}

TEST_CASE("a gradient with a number that is not finite has a norm that is not finite") {
  for (const double bad : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(), 1e30})
    for (const index_type place : {0, 4095, 4096, 9001})
      on_every_bench([&, place = place](auto& bench) {
        std::vector<double> values(9002, 1);
        values[static_cast<std::size_t>(place)] = bad;
        const auto norm = bench.unset({1});
        squared_norm(bench.backend, bench.of(values, {9002}), norm);
        CHECK_FALSE(std::isfinite(bench.read(norm)[0]));
      });
}

TEST_CASE("adam_rows equals the reference") {
  for (const index_type dim : {1, 16, 37})
    for (const index_type count : {1, 5, 700}) {
      CAPTURE(dim, count);
      check_against_reference(2e-6, [&](auto& bench) {
        const auto weight = bench.normal({1000, dim}), first = bench.all(0, {1000, dim}),
                   second = bench.all(0, {1000, dim}), norm = bench.unset({1});
        adam_settings settings{.learning_rate = 0.1, .max_norm = 0.5};
        for (settings.step = 1; settings.step <= 3; ++settings.step) {
          std::vector<token> rows;
          for (index_type r = 0; r < count; ++r)
            rows.push_back(r % 4 == 3 ? -1 : static_cast<token>((r * 7 + settings.step) % 1000));
          const auto gradient = bench.normal({count, dim});
          squared_norm(bench.backend, gradient.flat(), norm);
          adam_rows(bench.backend, settings, bench.tokens_of(rows, {count}), gradient, norm, weight, first, second);
        }
        bench.result("weight", weight);
        bench.result("first moment", first);
        bench.result("second moment", second);
      });
    }
}

TEST_CASE("adam_rows does to its rows what adam does to all, without weight decay, and leaves the others alone") {
  on_every_bench([](auto& bench) {
    const auto gradient = bench.normal({2, 3}), norm = bench.of({4}, {1});
    const auto weight = bench.normal({5, 3}), first = bench.normal({5, 3}), second = bench.all(1, {5, 3});
    const auto before = std::vector{bench.read(weight), bench.read(first), bench.read(second)};
    const auto row_of = [&](const auto& table, index_type row) { return bench.read(table.slice(row, 1).flat()); };
    const auto own_weight = bench.of(row_of(weight, 3), {3}), own_first = bench.of(row_of(first, 3), {3}),
               own_second = bench.of(row_of(second, 3), {3});
    const adam_settings settings{.weight_decay = 0.5, .step = 2};
    adam(bench.backend, settings, gradient.slice(1, 1).flat(), norm, own_weight, own_first, own_second);
    adam_rows(bench.backend, settings, bench.tokens_of({-1, 3}, {2}), gradient, norm, weight, first, second);
    CHECK(row_of(weight, 3) == bench.read(own_weight));
    CHECK(row_of(first, 3) == bench.read(own_first));
    CHECK(row_of(second, 3) == bench.read(own_second));
    auto expected = before;
    for (std::size_t d = 9; d < 12; ++d) {
      expected[0][d] = bench.read(weight)[d];
      expected[1][d] = bench.read(first)[d];
      expected[2][d] = bench.read(second)[d];
    }
    CHECK(std::vector{bench.read(weight), bench.read(first), bench.read(second)} == expected);
    CHECK(expected[0] != before[0]);
    fill(bench.backend, std::numeric_limits<float>::infinity(), norm);
    adam_rows(bench.backend, settings, bench.tokens_of({-1, 2}, {2}), gradient, norm, weight, first, second);
    CHECK(bench.read(weight) == expected[0]);
  });
}

}  // namespace strata
