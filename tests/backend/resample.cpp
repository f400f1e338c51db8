// unfold, window_mean, repeat, subsample, take_columns, depthwise, their gradients, shift_step and keep_last.
#include "backend/setups.hpp"

namespace strata {

namespace {

struct level_shape {
  index_type batch, tokens, dim;
  int compression, stride;
  index_type positions() const { return (tokens + stride - 1) / stride; }
};

/// Calls `body(shape)`; lengths are not multiples of strides, and the last size uses several threads.
template <class Body>
void for_level_shapes(Body body) {
  for (const index_type tokens : {1, 2, 17, 50})
    for (const auto& [compression, stride] :
         {std::pair<int, int>{1, 1}, {2, 1}, {2, 2}, {4, 2}, {8, 1}, {8, 8}, {16, 4}})
      for (const index_type dim : {1, 5, 36}) body(level_shape{1 + tokens % 3, tokens, dim, compression, stride});
  body(level_shape{3, 301, 67, 4, 2});
}

#define CAPTURE_LEVEL(shape) CAPTURE(shape.batch, shape.tokens, shape.dim, shape.compression, shape.stride)

/// The relative difference of <A x, y> and <x, A^T y>.
double adjoint_error(const std::vector<double>& ax, const std::vector<double>& y, const std::vector<double>& x,
                     const std::vector<double>& aty) {
  const double size = std::sqrt(dot(ax, ax) * dot(y, y));
  return std::abs(dot(ax, y) - dot(x, aty)) / size;
}

}  // namespace

TEST_CASE("unfold and its gradient equal the reference") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    const auto [batch, tokens, dim, compression, stride] = shape;
    const index_type positions = shape.positions(), width = dim * compression;
    check_against_reference(
        1e-6, [&, batch = batch, tokens = tokens, dim = dim, compression = compression, stride = stride](auto& bench) {
          const auto x = bench.normal({batch, tokens, dim}), y = bench.unset({batch, positions, width});
          unfold(bench.backend, x, compression, stride, index_type{0}, y);
          bench.result("y", y);
          const auto dy = bench.normal({batch, positions, width}), dx = bench.normal({batch, tokens, dim});
          unfold_backward(bench.backend, dy, compression, stride, index_type{0}, dx);
          bench.result("dx", dx);
          // One position alone, at the newest token.
          const auto last = bench.unset({batch, 1, width});
          unfold(bench.backend, x, compression, stride, tokens - 1, last);
          bench.result("last", last);
          const auto dlast = bench.normal({batch, 1, width});
          unfold_backward(bench.backend, dlast, compression, stride, tokens - 1, dx);
          bench.result("dx of last", dx);
          // Each token once: the last position may reach past the end.
          const index_type pieces = (tokens + compression - 1) / compression;
          const auto ahead = bench.unset({batch, pieces, width}), dahead = bench.normal({batch, pieces, width});
          unfold(bench.backend, x, compression, compression, index_type{compression} - 1, ahead);
          bench.result("ahead", ahead);
          unfold_backward(bench.backend, dahead, compression, compression, index_type{compression} - 1, dx);
          bench.result("dx of ahead", dx);
        });
  });
}

TEST_CASE("window_mean and its gradient equal the reference") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    check_against_reference(1e-6, [&](auto& bench) {
      const auto x = bench.normal({shape.batch, shape.tokens, shape.dim});
      const auto y = bench.unset({shape.batch, shape.positions(), shape.dim});
      window_mean(bench.backend, x, shape.compression, shape.stride, y);
      bench.result("y", y);
      const auto dy = bench.normal({shape.batch, shape.positions(), shape.dim});
      window_mean_backward(bench.backend, dy, shape.compression, shape.stride, x);
      bench.result("dx", x);
    });
  });
}

TEST_CASE("repeat, subsample and their gradients equal the reference") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    const index_type batch = shape.batch, tokens = shape.tokens, dim = shape.dim, positions = shape.positions();
    const int stride = shape.stride;
    for (const index_type column : {0, 3}) {
      const index_type width = column + dim + (column == 0 ? 4 : 2);
      check_against_reference(1e-6, [&](auto& bench) {
        const auto x = bench.normal({batch, positions, dim}), y = bench.normal({batch, tokens, width});
        repeat(bench.backend, x, stride, column, y);
        bench.result("repeat", y);
        const auto dy = bench.normal({batch, tokens, width}), dx = bench.normal({batch, positions, dim});
        repeat_backward(bench.backend, dy, stride, column, dx);
        bench.result("repeat_backward", dx);
        subsample(bench.backend, dy, stride, column, x);
        bench.result("subsample", x);
        subsample_backward(bench.backend, dx, stride, column, y);
        bench.result("subsample_backward", y);
      });
    }
  });
}

TEST_CASE("take_columns and its gradient equal the reference") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    const index_type batch = shape.batch, tokens = shape.tokens, dim = shape.dim, positions = shape.positions();
    for (const int stride : {1, 4})
      check_against_reference(1e-6, [&](auto& bench) {
        const index_type others = (tokens + stride - 1) / stride;
        const index_type column = stride == 1 ? 1 : 4;
        const column_range range{shape.stride, 2 * column, stride, column, dim};
        const auto x = bench.normal({batch, positions, dim + 3 * column}),
                   y = bench.normal({batch, others, dim + 2 * column});
        take_columns(bench.backend, x, range, y);
        bench.result("y", y);
        const auto dy = bench.normal({batch, others, dim + 2 * column});
        take_columns_backward(bench.backend, dy, range, x);
        bench.result("dx", x);
      });
  });
}

TEST_CASE("depthwise and its gradient equal the reference") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    const index_type batch = shape.batch, tokens = shape.tokens, dim = shape.dim, positions = shape.positions();
    const int stride = shape.stride;
    check_against_reference(1e-6, [&](auto& bench) {
      const auto x = bench.normal({batch, positions, dim}), y = bench.unset({batch, tokens, dim});
      const auto weight = bench.normal({dim}), bias = bench.normal({dim});
      depthwise(bench.backend, x, stride, weight, bias, y, update::replace);
      bench.result("y", y);
      depthwise(bench.backend, x, stride, weight, {}, y, update::add);
      bench.result("y of two", y);
      const auto dy = bench.normal({batch, tokens, dim}), dx = bench.normal({batch, positions, dim});
      // Added to 100, because sums over all rows may be near 0.
      const auto dweight = bench.all(100, {dim}), dbias = bench.all(100, {dim});
      depthwise_backward(bench.backend, x, stride, weight, dy, dx, dweight, dbias);
      bench.result("dbias", dbias);
      depthwise_backward(bench.backend, x, stride, weight, dy, dx, dweight, {});
      bench.result("dx", dx);
      bench.result("dweight", dweight);
    });
  });
}

TEST_CASE("keep_last equals the reference") {
  for (const index_type length : {1, 2, 17, 50})
    for (const index_type span : {1, 5, 33, 60})
      for (const int dilation : {1, 3, 20})
        for (const index_type dim : {5, 8})
          check_against_reference(0, [&](auto& bench) {
            const auto x = bench.normal({2, length, 12});
            const auto ring = bench.all(7, {2, span, dim});
            for (int sequence = 0; sequence < dilation; ++sequence)
              keep_last(bench.backend, x, sequence, dilation, dim == 5 ? sequence % 8 : sequence % 2 * 4, ring);
            bench.result("ring", ring);
          });
}

TEST_CASE("keep_last: known values") {
  on_every_bench([](auto& bench) {
    // Sequence 1 of 2 has the positions 1, 3, 5: its indices 1 and 2 stay, in slots 1 and 0.
    const auto x = bench.of({0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51}, {1, 6, 2}), ring = bench.unset({1, 2, 1});
    keep_last(bench.backend, x, 1, 2, 1, ring);
    CHECK(bench.read(ring) == std::vector<double>{51, 31});
    const auto untouched = bench.all(7, {1, 2, 1});
    keep_last(bench.backend, x, 6, 8, 0, untouched);  // a sequence without positions
    CHECK(bench.read(untouched) == std::vector<double>{7, 7});
  });
}

TEST_CASE("shift_step equals the reference") {
  for (const index_type batch : {1, 3})
    for (const index_type dim : {1, 2, 7, 130})
      check_against_reference(0, [&](auto& bench) {
        const auto previous = bench.normal({batch, dim}), y = bench.unset({batch, dim});
        for (int step = 0; step < 3; ++step) {
          shift_step(bench.backend, bench.normal({batch, dim}), previous, y);
          bench.result("y", y);
          bench.result("previous", previous);
        }
      });
}

TEST_CASE("gradients between levels are the transposed maps") {
  for_level_shapes([](const level_shape& shape) {
    CAPTURE_LEVEL(shape);
    const index_type batch = shape.batch, tokens = shape.tokens, dim = shape.dim, positions = shape.positions();
    const int compression = shape.compression, stride = shape.stride;
    const index_type patch = dim * compression, column = 2, width = dim + 5;
    on_every_bench([&](auto& bench) {
      const auto x = bench.normal({batch, tokens, dim}), ax = bench.unset({batch, positions, patch});
      const auto y = bench.normal({batch, positions, patch}), aty = bench.all(0, {batch, tokens, dim});
      unfold(bench.backend, x, compression, stride, index_type{0}, ax);
      unfold_backward(bench.backend, y, compression, stride, index_type{0}, aty);
      CHECK(adjoint_error(bench.read(ax), bench.read(y), bench.read(x), bench.read(aty)) < 1e-6);

      const auto level = bench.normal({batch, positions, dim}), wide = bench.normal({batch, tokens, width});
      const auto repeated = bench.all(0, {batch, tokens, width}), summed = bench.all(0, {batch, positions, dim});
      repeat(bench.backend, level, stride, column, repeated);
      repeat_backward(bench.backend, wide, stride, column, summed);
      CHECK(adjoint_error(bench.read(repeated), bench.read(wide), bench.read(level), bench.read(summed)) < 1e-6);

      const auto sampled = bench.all(0, {batch, positions, dim}), spread = bench.all(0, {batch, tokens, width});
      subsample(bench.backend, wide, stride, column, sampled);
      subsample_backward(bench.backend, level, stride, column, spread);
      CHECK(adjoint_error(bench.read(sampled), bench.read(level), bench.read(wide), bench.read(spread)) < 1e-6);
    });
  });
}

TEST_CASE("between levels: known values") {
  on_every_bench([](auto& bench) {
    // 3 tokens of 2 channels; positions end at tokens 0 and 2 and see 2 tokens each, channel by channel.
    const auto x = bench.of({1, 10, 2, 20, 3, 30}, {1, 3, 2}), y = bench.unset({1, 2, 4});
    unfold(bench.backend, x, 2, 2, index_type{0}, y);
    CHECK(bench.read(y) == std::vector<double>{0, 1, 0, 10, 2, 3, 20, 30});
    const auto dx = bench.all(100, {1, 3, 2});
    unfold_backward(bench.backend, y, 2, 2, index_type{0}, dx);
    CHECK(bench.read(dx) == std::vector<double>{101, 110, 102, 120, 103, 130});
    unfold(bench.backend, x, 2, 2, index_type{1}, y);  // the last position ends after the text
    CHECK(bench.read(y) == std::vector<double>{1, 2, 10, 20, 3, 0, 30, 0});
    unfold_backward(bench.backend, y, 2, 2, index_type{1}, dx);
    CHECK(bench.read(dx) == std::vector<double>{102, 120, 104, 140, 106, 160});

    // The mean of the tokens that exist: one, then two.
    const auto mean = bench.unset({1, 2, 2});
    window_mean(bench.backend, x, 2, 2, mean);
    CHECK(bench.read(mean) == std::vector<double>{1, 10, 2.5, 25});
    window_mean_backward(bench.backend, mean, 2, 2, x);
    CHECK(bench.read(x) == std::vector<double>{2, 20, 3.25, 32.5, 4.25, 42.5});

    // 2 positions at tokens 0 and 2 of 3, at column 1 of 4.
    const auto level = bench.of({1, 2, 3, 4}, {1, 2, 2}), wide = bench.all(9, {1, 3, 4});
    repeat(bench.backend, level, 2, index_type{1}, wide);
    CHECK(bench.read(wide) == std::vector<double>{9, 1, 2, 9, 9, 1, 2, 9, 9, 3, 4, 9});
    repeat_backward(bench.backend, wide, 2, index_type{1}, level);
    CHECK(bench.read(level) == std::vector<double>{3, 6, 6, 8});
    subsample(bench.backend, wide, 2, index_type{1}, level);
    CHECK(bench.read(level) == std::vector<double>{4, 8, 9, 12});
    subsample_backward(bench.backend, level, 2, index_type{1}, wide);
    CHECK(bench.read(wide) == std::vector<double>{9, 4, 8, 9, 9, 0, 0, 9, 9, 9, 12, 9});

    // The last column of levels at tokens 0 and 2, taken at tokens 0, 1 and 2. Then the middle column of tokens, taken
    // at 0 and 2.
    const auto fine = bench.all(9, {1, 3, 2}), coarse = bench.all(9, {1, 2, 2});
    take_columns(bench.backend, bench.of({1, 2, 3, 4}, {1, 2, 2}), {2, 1, 1, 0, 1}, fine);
    CHECK(bench.read(fine) == std::vector<double>{2, 9, 2, 9, 4, 9});
    take_columns(bench.backend, bench.of({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3}), {1, 1, 2, 1, 1}, coarse);
    CHECK(bench.read(coarse) == std::vector<double>{9, 2, 9, 8});
    depthwise(bench.backend, bench.of({1, 2, 3, 4}, {1, 2, 2}), 2, bench.of({10, 100}, {2}), bench.of({5, 6}, {2}),
              fine, update::replace);
    CHECK(bench.read(fine) == std::vector<double>{15, 206, 15, 206, 35, 406});

    const auto previous = bench.of({7, 8, 9}, {1, 3}), now = bench.of({1, 2, 3}, {1, 3}), out = bench.unset({1, 3});
    shift_step(bench.backend, now, previous, out);
    CHECK(bench.read(out) == std::vector<double>{1, 2, 9});
    CHECK(bench.read(previous) == std::vector<double>{1, 2, 3});
  });
}

}  // namespace strata
