// window_targets, quantize, cross_entropy, cosine_distance, embedding_distance, sigmoid_pairs.
#include <array>
#include <limits>

#include "backend/setups.hpp"

namespace strata {

TEST_CASE("window_targets equals the reference") {
  for (const index_type length : {1, 2, 17, 301})
    for (const auto& [window, stride] : {std::pair<index_type, int>{1, 1}, {2, 1}, {4, 2}, {8, 4}})
      for (const index_type offset : {1 - window, index_type{0}, index_type{1}, index_type{5}}) {
        CAPTURE(length, window, stride, offset);
        check_against_reference(0, [&, window = window, stride = stride](auto& bench) {
          const index_type positions = (length + stride - 1) / stride;
          const auto ids = bench.tokens(0, 66, {3, length});
          const auto targets = bench.tokens(100, 200, {3, positions, window});
          window_targets(bench.backend, ids, stride, offset, targets);
          bench.result("targets", targets);
        });
      }
}

TEST_CASE("window_targets: known values") {
  on_every_bench([](auto& bench) {
    // Positions are at tokens 0 and 2 of 3. Windows start at the token before, then at the token after.
    const auto ids = bench.tokens_of({5, 6, 7}, {1, 3});
    const auto targets = bench.tokens(0, 0, {1, 2, 2});
    window_targets(bench.backend, ids, 2, -1, targets);
    CHECK(bench.read(targets) == std::vector<double>{-1, 5, 6, 7});
    window_targets(bench.backend, ids, 2, 1, targets);
    CHECK(bench.read(targets) == std::vector<double>{6, 7, -1, -1});
  });
}

TEST_CASE("quantize equals the reference") {
  for (const auto& [length, kept] : {std::pair<index_type, index_type>{1, 1}, {3, 0}, {17, 16}, {60, 60}})
    for (const index_type dim : {2, 5, 16, 67})
      for (const auto& [books, count, width] :
           {std::array<index_type, 3>{1, 2, 1}, {3, 19, 8}, {2, 67, 17}, {1, 300, 16}}) {
        CAPTURE(length, kept, dim, books, count, width);
        check_against_reference(0, [&, length = length, kept = kept, books = books, count = count,
                                    width = width](auto& bench) {
          const auto x = bench.normal({3, length, dim});
          const auto projections = bench.normal({books, dim, width}), codebooks = bench.normal({books, count, width});
          const auto codes = bench.tokens(1000, 2000, {3, kept, books});
          quantize(bench.backend, x, projections, codebooks, codes);
          bench.result("codes", codes);
        });
      }
}

TEST_CASE("quantize: known values") {
  on_every_bench([](auto& bench) {
    // Without their means, the rows point to (1, -1) and to (-1, 1), are zero, and are NaN. Several codes are equal, in
    // one vector and in several.
    const double none = std::numeric_limits<double>::quiet_NaN();
    const auto x = bench.of({5, 3, -7, 1, 4, 4, none, 0}, {1, 4, 2}), projections = bench.of({1, 0, 0, 1}, {1, 2, 2});
    std::vector<double> values;
    for (int c = 0; c < 40; ++c)
      for (const double value : c == 23 || c == 24 || c == 33 || c == 39 ? std::array{2., 1.} : std::array{-1., 0.})
        values.push_back(value);
    const auto codes = bench.tokens(7, 7, {1, 4, 1});
    quantize(bench.backend, x, projections, bench.of(values, {1, 40, 2}), codes);
    CHECK(bench.read(codes) == std::vector<double>{23, 0, 0, 0});
  });
}

TEST_CASE("cross_entropy equals the reference") {
  for (const index_type rows : {1, 5, 300})
    for (const index_type vocabulary : {2, 16, 67, 300, 1100, 1301})
      for (const token ignore : {-1, 0})
        for (const double scale : {0.1, 1.0, 30.0}) {
          if (rows * vocabulary > 300 * 67) continue;
          CAPTURE(rows, vocabulary, ignore, scale);
          // exp turns the absolute error of a difference of logits (up to 100) into a relative one.
          check_against_reference(4e-6, [&](auto& bench) {
            const auto logits = bench.normal({rows, vocabulary}, scale);
            const auto targets = bench.tokens(rows == 1 ? 1 : -1, static_cast<token>(vocabulary - 1), {rows});
            const auto loss = bench.normal({1});
            const auto gradient = bench.unset({rows, vocabulary});
            cross_entropy(bench.backend, logits, targets, ignore, 0.7f, loss, gradient);
            bench.result("loss", loss);
            bench.result("gradient", gradient);
            cross_entropy(bench.backend, logits, targets, ignore, 0.7f, loss, {});
            bench.result("loss without gradient", loss);
            bench.result("logits left alone", logits);
            cross_entropy(bench.backend, logits, targets, ignore, 0.7f, loss, logits);
            bench.result("loss in place", loss);
            bench.result("gradient in place", logits);
          });
        }
}

TEST_CASE("cross_entropy: known values") {
  on_every_bench([](auto& bench) {
    // Equal logits lose log V, whatever they are. Rows without a target do not count.
    const auto logits = bench.all(250, {4, 3}), gradient = bench.unset({4, 3});
    const auto targets = bench.tokens_of({2, -1, 1, 0}, {4});
    const auto loss = bench.all(10, {1});
    cross_entropy(bench.backend, logits, targets, 0, 6.f, loss, gradient);
    CHECK(bench.read(loss)[0] == Approx(10 + std::log(3.0)).epsilon(1e-6));
    CHECK(relative_error(bench.read(gradient), {1, 1, -2, 0, 0, 0, 1, -2, 1, 0, 0, 0}) < 1e-6);

    const auto none = bench.tokens_of({0, 0, -1, -7}, {4});
    cross_entropy(bench.backend, logits, none, 0, 6.f, loss, gradient);
    CHECK(bench.read(loss)[0] == Approx(10 + std::log(3.0)).epsilon(1e-6));
    CHECK(bench.read(gradient) == std::vector<double>(12, 0));
  });
}

TEST_CASE("a logit that is not a finite number shows in loss and gradient") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    for (const std::size_t place : {1u, 20u, 66u})  // not the target's
      on_every_bench([&](auto& bench) {
        std::vector<double> values(3 * 67, 0.5);
        values[67 + place] = bad;
        const auto logits = bench.of(values, {3, 67}), gradient = bench.unset({3, 67});
        const auto loss = bench.all(0, {1});
        cross_entropy(bench.backend, logits, bench.tokens_of({5, 5, 5}, {3}), -1, 1.f, loss, gradient);
        CHECK_FALSE(std::isfinite(bench.read(loss)[0]));
        const auto slopes = bench.read(gradient);
        CHECK_FALSE(std::isfinite(dot(slopes, slopes)));
      });
}

TEST_CASE("cosine_distance equals the reference") {
  for (const index_type length : {1, 2, 17, 60})
    for (const index_type dim : {1, 5, 16, 67, 300, 1100}) {
      if (length * dim > 60 * 67) continue;
      const index_type batch = 1 + length % 3;
      CAPTURE(batch, length, dim);
      // In one dimension the exact gradient is 0: only rounding is left.
      const double tolerance = dim == 1 ? 1e-5 : 1e-6;
      // Scaled by the number of pairs: both terms of the sum are then about as large.
      const float scale = static_cast<float>(batch * length);
      check_against_reference(tolerance, [&](auto& bench) {
        const auto prediction = bench.normal({batch, length, dim}), embedding = bench.normal({batch, length, dim});
        const auto dprediction = bench.unset({batch, length, dim}), dembedding = bench.normal({batch, length, dim});
        const auto loss = bench.all(1, {1});  // with a negative one the sum may cancel
        cosine_distance(bench.backend, prediction, embedding, scale, loss, dprediction, dembedding);
        bench.result("loss", loss);
        if (dim > 1) bench.result("dprediction", dprediction);
        bench.result("dembedding", dembedding);
        cosine_distance(bench.backend, prediction, embedding, scale, loss, {}, {});
        bench.result("loss without gradient", loss);
      });
    }
}

TEST_CASE("cosine_distance: known values") {
  on_every_bench([](auto& bench) {
    // Row 0 predicts row 1's direction exactly, row 1 predicts the opposite of row 2's: 1 - (1 - 1) / 2.
    const auto prediction = bench.of({3, 0, 0, 5, 8, 8}, {1, 3, 2}),
               embedding = bench.of({9, 9, 2, 0, 0, -1}, {1, 3, 2});
    const auto dprediction = bench.unset({1, 3, 2}), dembedding = bench.all(1, {1, 3, 2});
    const auto loss = bench.all(4, {1});
    cosine_distance(bench.backend, prediction, embedding, 1.f, loss, dprediction, dembedding);
    CHECK(bench.read(loss)[0] == Approx(5).epsilon(1e-6));
    CHECK(bench.read(dprediction) == std::vector<double>{0, 0, 0, 0, 0, 0});
    CHECK(bench.read(dembedding) == std::vector<double>{1, 1, 1, 1, 1, 1});

    // At a right angle, rotating either vector towards the other helps.
    const auto x = bench.of({2, 0, 1, 1}, {1, 2, 2}), e = bench.of({1, 1, 0, 4}, {1, 2, 2});
    const auto dx = bench.unset({1, 2, 2}), de = bench.all(0, {1, 2, 2});
    cosine_distance(bench.backend, x, e, 3.f, loss, dx, de);
    CHECK(bench.read(loss)[0] == Approx(6).epsilon(1e-6));
    CHECK(relative_error(bench.read(dx), {0, -1.5, 0, 0}) < 1e-6);
    CHECK(relative_error(bench.read(de), {0, 0, -0.75, 0}) < 1e-6);
  });
}

TEST_CASE("embedding_distance equals the reference") {
  for (const index_type length : {1, 2, 17, 60})
    for (const index_type dim : {1, 5, 16, 67, 300, 1100})
      for (const distance_settings& settings : {distance_settings{.squared = 1, .share = 0.5},
                                                {.squared = 0, .smooth = 1, .decay = 0.3},
                                                {.squared = 0.1, .smooth = 0, .cosine = 0.9, .decay = 1}}) {
        if (length * dim > 60 * 67) continue;
        const index_type batch = 1 + length % 3, first = length % 4, rows = batch * length;
        CAPTURE(batch, length, dim, settings.smooth, settings.cosine);
        check_against_reference(2e-6, [&](auto& bench) {
          const auto prediction = bench.normal({batch, length, dim}),
                     embedding = bench.normal({batch, length + 5, dim});
          const auto dprediction = bench.unset({batch, length, dim}),
                     dembedding = bench.normal({batch, length + 5, dim});
          const auto targets = bench.tokens(rows == 1 ? 1 : -1, 5, {rows});
          const auto loss = bench.all(1, {1}), lost = bench.normal({rows});
          const auto scale = static_cast<float>(rows);  // both terms of the sum are then about as large
          embedding_distance(bench.backend, settings, prediction, embedding, first, targets, 0, scale, loss, lost,
                             dprediction, {});
          bench.result("dprediction alone", dprediction);
          embedding_distance(bench.backend, settings, prediction, embedding, first, targets, 0, scale, loss, lost,
                             dprediction, dembedding);
          bench.result("dprediction", dprediction);
          bench.result("dembedding", dembedding);
          embedding_distance(bench.backend, settings, prediction, embedding, first, targets, 0, scale, loss, lost, {},
                             {});
          bench.result("loss", loss);
          bench.result("lost", lost);
        });
      }
}

TEST_CASE("embedding_distance: known values") {
  on_every_bench([](auto& bench) {
    // The rows (3, 4) and (0, 2): squared 13/2, smooth (2.5 + 1.5)/2, 1 - cos 0.2. The first row's target is ignored.
    const auto prediction = bench.of({7, 8, 3, 4}, {1, 2, 2}), embedding = bench.of({9, 9, 9, 9, 0, 2}, {1, 3, 2});
    const auto targets = bench.tokens_of({5, 1}, {2});
    const auto distance = [&](const distance_settings& settings, double lost_before) {
      const auto loss = bench.all(10, {1}), lost = bench.all(lost_before, {2});
      embedding_distance(bench.backend, settings, prediction, embedding, index_type{1}, targets, 5, 1.f, loss, lost, {},
                         {});
      return std::pair{bench.read(loss)[0] - 10, bench.read(lost)[1] - lost_before};
    };
    CHECK(distance({}, 0).first == Approx(6.5).epsilon(1e-6));
    CHECK(distance({.squared = 0, .smooth = 1}, 0).first == Approx(2).epsilon(1e-6));
    CHECK(distance({.squared = 0, .cosine = 1}, 0).first == Approx(0.2).epsilon(1e-5));
    const auto [loss, lost] = distance({.share = 0.5, .decay = 2}, std::log(2.0));
    CHECK(loss == Approx(6.5 / 8).epsilon(1e-5));
    CHECK(lost == Approx(6.5).epsilon(1e-6));

    const auto dprediction = bench.unset({1, 2, 2}), dembedding = bench.all(0, {1, 3, 2});
    embedding_distance(bench.backend, {}, prediction, embedding, index_type{1}, targets, 5, 1.f, bench.all(0, {1}),
                       bench.all(0, {2}), dprediction, dembedding);
    CHECK(bench.read(dprediction) == std::vector<double>{0, 0, 3, 2});
    CHECK(bench.read(dembedding) == std::vector<double>{0, 0, 0, 0, -3, -2});
  });
}

TEST_CASE("sigmoid_pairs equals the reference") {
  for (const auto& [first, rows, columns] :
       {std::array<index_type, 3>{0, 1, 1}, {0, 3, 3}, {6, 1, 7}, {3, 5, 67}, {237, 64, 301}})
    for (const double bias : {-10.0, 0.3}) {
      CAPTURE(first, rows, columns, bias);
      // exp turns the absolute error of a logit (up to 40) into a relative one.
      check_against_reference(4e-6, [&, first = first, rows = rows, columns = columns](auto& bench) {
        const auto cosines = bench.normal({rows, columns});
        const auto log_scale = bench.all(std::log(10.0), {1}), shift = bench.all(bias, {1});
        const auto loss = bench.normal({1}), dlog_scale = bench.normal({1}), dshift = bench.normal({1});
        const auto scale = static_cast<float>(columns);  // both terms of the sum are then about as large
        sigmoid_pairs(bench.backend, cosines, first, log_scale, shift, scale, loss, {}, {});
        bench.result("loss without gradient", loss);
        bench.result("cosines left alone", cosines);
        sigmoid_pairs(bench.backend, cosines, first, log_scale, shift, scale, loss, dlog_scale, dshift);
        bench.result("loss", loss);
        bench.result("gradient", cosines);
        bench.result("dlog_scale", dlog_scale);
        bench.result("dbias", dshift);
      });
    }
}

TEST_CASE("sigmoid_pairs: known values") {
  on_every_bench([](auto& bench) {
    // Logits of 0 lose log 2 each. The gradient is half a pair's share: up on the diagonal, down elsewhere.
    const auto zero = bench.all(0, {1}), loss = bench.all(4, {1});
    const auto dlog_scale = bench.all(1, {1}), dbias = bench.all(1, {1});
    const auto equal = bench.all(0, {2, 3});
    sigmoid_pairs(bench.backend, equal, index_type{1}, zero, zero, 6.f, loss, dlog_scale, dbias);
    CHECK(bench.read(loss)[0] == Approx(4 + 2 * std::log(2.0)).epsilon(1e-6));
    CHECK(bench.read(equal) == std::vector<double>{1, -1, 1, 1, 1, -1});
    CHECK(bench.read(dlog_scale)[0] == 1);
    CHECK(bench.read(dbias)[0] == 3);

    // Logits of 8 on the diagonal and -8 elsewhere: the loss is tiny, and exact.
    const auto sure = bench.of({9, -7, -7, 9}, {2, 2});
    const auto tiny = bench.all(0, {1});
    sigmoid_pairs(bench.backend, sure, index_type{0}, zero, bench.all(-1, {1}), 1.f, tiny, dlog_scale, dbias);
    CHECK(bench.read(tiny)[0] == Approx(2 * std::log1p(std::exp(-8.0))).epsilon(1e-5));
  });
}

}  // namespace strata
