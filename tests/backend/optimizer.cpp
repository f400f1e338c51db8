// squared_norm, adam, adam_rows, muon.
#include <strata/io/safetensors.hpp>

#include "backend/setups.hpp"

namespace strata {
namespace {

/// Places for matrices of these shapes, one after the other, with gaps before, between and behind them.
struct some_matrices {
  std::vector<matrix_place> places;
  index_type size = 5;  ///< of the flat buffers
  some_matrices(const std::vector<std::pair<index_type, index_type>>& shapes) {
    for (const auto& [rows, columns] : shapes) {
      places.push_back({size, rows, columns});
      size += rows * columns + 3;
    }
  }
};

/// Steps of muon with random gradients on random weights.
template <class Bench>
void take_steps(Bench& bench, const some_matrices& matrices, const muon_settings& settings, int steps = 2) {
  const auto weight = bench.normal({matrices.size}), norm = bench.unset({1});
  const auto first = bench.normal({matrices.size}), second = bench.all(2, {matrices.size});
  for (int step = 0; step < steps; ++step) {
    const auto gradient = bench.normal({matrices.size});
    squared_norm(bench.backend, gradient, norm);
    muon(bench.backend, settings, matrices.places, gradient, norm, weight, first, second);
  }
  bench.result("weight", weight);
  bench.result("first moment", first);
  bench.result("second moment", second);
}

}  // namespace

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

TEST_CASE("muon equals the reference") {
  const auto check = [](const some_matrices& matrices, const muon_settings& settings) {
    CAPTURE(matrices.size, settings.normalised, settings.max_norm);
    check_against_reference(1e-5, [&](auto& bench) { take_steps(bench, matrices, settings); });
  };
  for (const bool normalised : {false, true}) {
    const muon_settings settings{.learning_rate = 0.5, .normalised = normalised};
    for (const auto& [rows, columns] :
         {std::pair{1, 1}, {1, 7}, {7, 1}, {65, 33}, {33, 65}, {16, 16}, {130, 70}, {70, 130}, {20, 300}, {300, 20}}) {
      CAPTURE(rows, columns);
      check({{{rows, columns}}}, settings);
    }
    const std::vector<std::pair<index_type, index_type>> several{{16, 16}, {9, 20}, {20, 9}, {0, 3}, {16, 16}, {3, 0}};
    for (const double max_norm : {0.0, 0.5, 1e6}) {
      muon_settings own = settings;
      own.max_norm = max_norm;
      check(several, own);
    }
    check({{}}, settings);
    // Large enough for several threads, alone and beside others.
    check({{{150, 160}}}, settings);
    check({{{9, 20}, {160, 150}, {16, 16}}}, settings);
  }
  check({{{12, 18}}}, {.learning_rate = 0.5, .momentum = 0.5, .weight_decay = 0, .iterations = 0});
  check({{{12, 18}}}, {.momentum = 0, .weight_decay = 3, .normalised = true, .beta2 = 0.5, .iterations = 2});
}

TEST_CASE("muon with products of bfloat16 is near the reference") {
  for (const auto& [rows, columns] : {std::pair{65, 33}, {33, 65}, {16, 16}})
    for (const bool normalised : {false, true}) {
      CAPTURE(rows, columns, normalised);
      const some_matrices matrices({{rows, columns}});
      const muon_settings settings{.learning_rate = 0.5, .normalised = normalised};
      check_against_reference(
          0.01, [&](auto& bench) { take_steps(bench, matrices, settings); }, setups::of_bfloat16);
    }
}

TEST_CASE("muon equals the golden file") {
  const safetensors_file file = safetensors_file::read(STRATA_GOLDEN_DATA "/muon.safetensors");
  const auto setting = [&](const char* name) { return std::stod(file.metadata(name)); };
  const auto check = [&](auto& backend, double tolerance) {
    for (const bool normalised : {false, true})
      for (const auto& [rows, columns] : {std::pair{8, 12}, {12, 8}, {10, 10}}) {
        const std::string shape = to_text(rows, "x", columns), kind = normalised ? "normuon" : "muon";
        CAPTURE(shape, kind);
        const index_type size = index_type{rows} * columns;
        const auto values = [&](const std::string& name) { return file.values<double>(shape + "." + name); };
        workbench bench(backend);
        const auto gradients = bench.unset({3, size}), weight = bench.unset({1, size});
        bench.write(gradients, values("gradients"));  // in double, which the file has
        bench.write(weight, values("w"));
        const auto norm = bench.all(1, {1}), first = bench.all(0, {size}), second = bench.all(0, {size});
        const matrix_place place{0, rows, columns};
        for (index_type step = 0; step < 3; ++step)
          muon(backend,
               {.learning_rate = setting("learning_rate"),
                .momentum = setting("momentum"),
                .weight_decay = setting("weight_decay"),
                .normalised = normalised,
                .beta2 = setting("beta2"),
                .max_norm = 0},
               {&place, 1}, gradients[step], norm, weight.flat(), first, second);
        CHECK(relative_error(bench.read(weight), values(kind)) < tolerance);
      }
  };
  reference<double> exact;
  check(exact, 1e-14);
  on_every_setup(setups::of_most, [&](tested& backend, const std::string& setup) {
    INFO(setup);
    check(backend, 1e-6);
  });
}

TEST_CASE("muon: known values") {
  on_every_bench([](auto& bench) {
    // A row over its norm stays a row of its direction; five iterations make of the norm 1 what they make of 1.
    double length = 1;
    for (int n = 0; n < 5; ++n) length *= 3.4445 - 4.7750 * length * length + 2.0315 * std::pow(length, 4);
    const matrix_place place{1, 1, 2};
    const auto gradient = bench.of({7, 3, -4, 7}, {4}), norm = bench.of({100}, {1}), weight = bench.all(10, {4});
    const auto first = bench.all(0, {4}), second = bench.all(2, {4});
    const muon_settings settings{.learning_rate = 0.5, .momentum = 0.9, .weight_decay = 0.2};
    muon(bench.backend, settings, {&place, 1}, gradient, norm, weight, first, second);
    CHECK(relative_error(bench.read(first), {0, 0.03, -0.04, 0}) < 1e-6);  // clipped from norm 10 to 1
    CHECK(relative_error(bench.read(weight), {10, 9 - 0.5 * length * 0.6, 9 + 0.5 * length * 0.8, 10}) < 1e-6);
    CHECK(bench.read(second) == std::vector<double>{2, 2, 2, 2});
  });
  on_every_bench([](auto& bench) {
    // Two orthogonal rows; the second has lately been large. A column more and the shape's factor were sqrt(3 / 2).
    const matrix_place place{0, 2, 2};
    const auto gradient = bench.of({3, 0, 0, 3}, {4}), norm = bench.of({18}, {1}), weight = bench.all(0, {4});
    const auto first = bench.all(0, {4}), second = bench.of({0, 8, 5, 5}, {4});
    const muon_settings settings{.learning_rate = 1, .normalised = true, .beta2 = 0.75, .iterations = 0};
    muon(bench.backend, settings, {&place, 1}, gradient, norm, weight, first, second);
    // Without iterations the update is the unit matrix over sqrt 2, but for 1e-7 in its norm: rows with the mean square
    // 1/4.
    const double upper = 1 / std::sqrt(0.25 * 0.25), lower = 1 / std::sqrt(0.75 * 8 + 0.25 * 0.25);
    const double restored = 1 / std::sqrt(upper * upper + lower * lower);
    CHECK(relative_error(bench.read(weight), {-upper * restored, 0, 0, -lower * restored}) < 2e-6);
    CHECK(relative_error(bench.read(second), {0.0625, 6.0625, 5, 5}) < 1e-6);
  });
}

TEST_CASE("muon makes a matrix nearly orthogonal") {
  on_every_bench([](auto& bench) {
    for (const auto& [rows, columns] : {std::pair{12, 40}, {40, 12}}) {
      const matrix_place place{0, rows, columns};
      const index_type size = place.size();
      const auto gradient = bench.normal({size}), norm = bench.all(1, {1}), weight = bench.all(0, {size});
      const auto first = bench.all(0, {size}), second = bench.all(0, {size});
      muon(bench.backend, {.learning_rate = 1}, {&place, 1}, gradient, norm, weight, first, second);
      const std::vector<double> update = bench.read(weight);
      double squares = 0;  // of m singular values, each in about 0.7 .. 1.2
      for (const double value : update) squares += value * value / (rows > columns ? 40. / 12 : 1);
      CHECK(squares == Approx(12).epsilon(0.3));
    }
  });
}

TEST_CASE("muon changes nothing outside of its matrices") {
  for (const bool normalised : {false, true})
    on_every_bench([&](auto& bench) {
      const some_matrices matrices({{17, 9}, {9, 17}, {1, 1}, {0, 4}});
      take_steps(bench, matrices, {.normalised = normalised});
      std::vector<bool> inside(static_cast<std::size_t>(matrices.size)), of_rows(inside);
      for (const matrix_place& place : matrices.places) {
        std::fill_n(inside.begin() + place.offset, place.size(), true);
        if (normalised && place.size() > 0) std::fill_n(of_rows.begin() + place.offset, place.rows, true);
      }
      // What the bench was given at first.
      workbench same(bench.backend);
      const std::vector<double> weight = same.read(same.normal({matrices.size})), unset = same.read(same.unset({1}));
      const std::vector<double> first = same.read(same.normal({matrices.size}));
      for (std::size_t n = 0; n < inside.size(); ++n) {
        CAPTURE(n);
        CHECK((bench.results[0].second[n] == weight[n]) != inside[n]);
        CHECK((bench.results[1].second[n] == first[n]) != inside[n]);
        CHECK((bench.results[2].second[n] == 2) != of_rows[n]);
      }
    });
}

TEST_CASE("muon without a gradient only decays the weights") {
  for (const bool normalised : {false, true})
    on_every_bench([&](auto& bench) {
      const matrix_place place{0, 3, 5};
      const auto gradient = bench.all(0, {15}), norm = bench.all(0, {1}), weight = bench.all(10, {15});
      const auto first = bench.all(0, {15}), second = bench.all(0, {15});
      const muon_settings settings{.learning_rate = 0.5, .weight_decay = 0.5, .normalised = normalised};
      muon(bench.backend, settings, {&place, 1}, gradient, norm, weight, first, second);
      CHECK(bench.read(weight) == std::vector<double>(15, 7.5));
      CHECK(bench.read(first) == std::vector<double>(15, 0));
      CHECK(bench.read(second) == std::vector<double>(15, 0));
    });
}

TEST_CASE("muon changes nothing when the norm of the gradient or another measure is not finite") {
  constexpr double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  for (const bool normalised : {false, true})
    for (const std::vector<double>& measures : {std::vector{infinity}, {nan}, {4., infinity, 2.}, {4., 3., nan}})
      on_every_bench([&](auto& bench) {
        const some_matrices matrices({{9, 20}, {20, 9}});
        const auto gradient = bench.normal({matrices.size}),
                   norm = bench.of(measures, {static_cast<strata::index_type>(measures.size())});
        const auto weight = bench.normal({matrices.size}), first = bench.normal({matrices.size}),
                   second = bench.all(1, {matrices.size});
        const auto everything = [&] { return std::vector{bench.read(weight), bench.read(first), bench.read(second)}; };
        const auto before = everything();
        const auto step = [&] {
          muon(bench.backend, {.normalised = normalised}, matrices.places, gradient, norm, weight, first, second);
        };
        step();
        CHECK(everything() == before);
        fill(bench.backend, 4.f, norm);
        step();
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
                   second = bench.all(0, {1000, dim});
        const auto norm = bench.unset({1});
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
    const auto norm = bench.of({4}, {1});
    const auto gradient = bench.normal({2, 3}), weight = bench.normal({5, 3}), first = bench.normal({5, 3}),
               second = bench.all(1, {5, 3});
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
