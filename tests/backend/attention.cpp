// attention, its gradient, and one step of incremental attention.
#include <strata/layers/rotary.hpp>

#include "backend/setups.hpp"

namespace strata {

namespace {

/// Calls `body(shape)`; batch and heads change from shape to shape.
template <class Body>
void for_attention_shapes(Body body) {
  int number = 0;
  for (const int head_dim : {2, 6, 10, 16, 32, 48})
    for (const index_type length : {1, 2, 17, 50})
      for (const index_type span : {1, 2, 5, 33, 100})
        for (const int dilation : {1, 2, 3, 4}) {
          ++number;
          // Spans beyond the length are all the same case.
          if (span > 33 && length < 17) continue;
          body(attention_shape{1 + number % 3, length, 1 + number / 2 % 3, head_dim, span, dilation});
        }
}

/// Length of the longest interleaved sequence.
index_type sequence_length(const attention_shape& shape) {
  return (shape.length + shape.dilation - 1) / shape.dilation;
}

level_facts facts_of(const attention_shape& shape, bool full) {
  level_facts level;
  level.heads = shape.heads;
  level.head_dim = shape.head_dim;
  level.span = static_cast<int>(shape.span);
  level.full = full;
  return level;
}

template <class Bench>
auto table_of(Bench& bench, const attention_shape& shape, bool full) {
  const index_type positions = sequence_length(shape);
  return bench.of(rotary_table<double>(facts_of(shape, full), positions), {4, positions, shape.head_dim / 2});
}

/// The largest relative error in bfloat16. Rounding changes a number by up to 2^-8 of it, by 2^-9.3 in the mean square.
/// The squares of independent errors add: four errors for y (two in scores of about 1, a weight, a value), up to eight
/// for dqkv, 2^-7.8 of their norms. The bound is for a log_sum_exp of one score: both factors may be off by the most,
/// 2^-7 in all, and products partly cancel. A window that is off by one of n keys shows as 1 / sqrt(n).
constexpr double bfloat16_error = 1.0 / 64;

/// As check_against_reference, also in bfloat16.
template <class Body>
void check_attention(double tolerance, Body body) {
  check_against_reference(tolerance, body);
  check_against_reference(bfloat16_error, body, setups::of_bfloat16);
}
/// For properties that need no reference, also in bfloat16.
template <class Body>
void on_every_attention(Body body) {
  on_every_bench(body);
  on_every_bench(body, setups::of_bfloat16);
}

#define CAPTURE_SHAPE(shape) CAPTURE(shape.batch, shape.length, shape.heads, shape.head_dim, shape.span, shape.dilation)

}  // namespace

/// The results y, log_sum_exp and dqkv of one attention.
template <class Bench>
void attend_both_ways(Bench& bench, const attention_shape& shape, view<const typename Bench::scalar, 3> table) {
  const index_type rows = shape.batch * shape.length, dim = shape.dim();
  const auto qkv = bench.normal({rows, 3 * dim}), y = bench.unset({rows, dim});
  const auto log_sum_exp = bench.unset({shape.batch, shape.heads, shape.length});
  attention(bench.backend, shape, table, qkv, y, log_sum_exp);
  bench.result("y", y);
  bench.result("log_sum_exp", log_sum_exp);
  const auto dy = bench.normal({rows, dim}), dqkv = bench.unset({rows, 3 * dim});
  attention_backward(bench.backend, shape, table, qkv, y, log_sum_exp, dy, dqkv);
  bench.result("dqkv", dqkv);
}

TEST_CASE("attention and its gradient equal the reference") {
  int number = 0;
  for_attention_shapes([&](const attention_shape& shape) {
    CAPTURE_SHAPE(shape);
    const int turned = ++number % 3;  // 0: not rotated, 1: by angles alone, 2: with xPos
    // Scores are sums of up to 48 products that may cancel. exp turns their absolute error into a relative one, and a
    // log_sum_exp may be one score.
    const auto body = [&](auto& bench) {
      if (turned == 0)
        attend_both_ways(bench, shape, {});
      else
        attend_both_ways(bench, shape, table_of(bench, shape, turned == 2));
    };
    check_against_reference(1e-5, body);
    // In bfloat16 two shapes of seven are enough: every size meets every other.
    if (number % 7 < 2) check_against_reference(bfloat16_error, body, setups::of_bfloat16);
  });
}

TEST_CASE("attention over many blocks of keys equals the reference") {
  // Windows that end inside a block, blocks that no query of a tile sees only in part, and full attention.
  for (const attention_shape& shape :
       {attention_shape{1, 300, 2, 16, 150, 1}, attention_shape{1, 300, 2, 8, 300, 1},
        attention_shape{1, 413, 2, 24, 129, 1}, attention_shape{1, 620, 2, 8, 1024, 2},
        attention_shape{1, 290, 2, 128, 257, 1}, attention_shape{2, 140, 2, 64, 70, 1}}) {
    CAPTURE_SHAPE(shape);
    check_attention(1e-5, [&](auto& bench) {  // as above, but 128 products and 300 keys
      attend_both_ways(bench, shape, table_of(bench, shape, shape.span >= shape.length));
    });
  }
}

TEST_CASE("attention stays exact when later blocks hold the largest scores") {
  // The score of key j grows or falls along the sequence: the running maximum changes in every block or in none.
  // bfloat16 holds the keys exactly.
  for (const double slope : {0.25, -0.25})
    check_attention(4e-6, [&](auto& bench) {
      const attention_shape shape{1, 250, 1, 8, 250, 1};
      std::vector<double> rows(250 * 24);
      for (std::size_t n = 0; n < rows.size(); ++n) rows[n] = static_cast<double>(n * 7919 % 1000) / 1000;
      for (std::size_t i = 0; i < 250; ++i) {
        rows[i * 24] = std::sqrt(8.0);
        rows[i * 24 + 8] = slope * static_cast<double>(i);
      }
      const auto qkv = bench.of(rows, {250, 24}), y = bench.unset({250, 8});
      const auto log_sum_exp = bench.unset({1, 1, 250});
      attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
      bench.result("y", y);
      bench.result("log_sum_exp", log_sum_exp);
    });
}

TEST_CASE("attention turns queries and keys: known values") {
  on_every_bench([](auto& bench) {
    // Width 2: one pair, one radian an index. Position 3 of 2 interleaved sequences is index 1 and sees index 0,
    // rotated by one radian against it. Values are not rotated.
    const attention_shape shape{1, 4, 1, 2, 4, 2};
    const auto qkv = bench.of({1, 0, 1, 0, 7, 8, 1, 0, 1, 0, 7, 8, 1, 0, 1, 0, 5, 6, 1, 0, 0, 1, 5, 6}, {4, 6});
    const auto y = bench.unset({4, 2});
    const auto log_sum_exp = bench.unset({1, 1, 4});
    attention(bench.backend, shape, table_of(bench, shape, false), qkv, y, log_sum_exp);
    const double root = std::sqrt(2.0), far = std::cos(1.0) / root;
    const auto weight = [&](double near) { return std::exp(near) / (std::exp(far) + std::exp(near)); };
    const double own = weight(1 / root), across = weight(0);  // keys along the query, and across it
    CHECK(relative_error(bench.read(y), {7, 8, 7, 8, 7 - 2 * own, 8 - 2 * own, 7 - 2 * across, 8 - 2 * across}) < 1e-6);
    CHECK(relative_error(bench.read(log_sum_exp), {1 / root, 1 / root, std::log(std::exp(far) + std::exp(1 / root)),
                                                   std::log(std::exp(far) + 1)}) < 1e-6);
  });
}

TEST_CASE("attention: known values") {
  on_every_bench([](auto& bench) {
    // Width 4, so scores are halved. Position 0 sees itself, position 1 has the scores 0.5 and 1.
    const attention_shape shape{1, 2, 1, 4, 2, 1};
    const auto qkv = bench.of({9, 9, 9, 9, 1, 0, 0, 0, 1, 2, 3, 4, 1, 0, 1, 0, 0, 0, 2, 0, 5, 6, 7, 8}, {2, 12});
    const auto y = bench.unset({2, 4});
    const auto log_sum_exp = bench.unset({1, 1, 2});
    attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
    const double far = std::exp(0.5) / (std::exp(0.5) + std::exp(1.0)), near = 1 - far;
    CHECK(relative_error(bench.read(y), {1, 2, 3, 4, far + 5 * near, 2 * far + 6 * near, 3 * far + 7 * near,
                                         4 * far + 8 * near}) < 1e-6);
    CHECK(relative_error(bench.read(log_sum_exp), {4.5, std::log(std::exp(0.5) + std::exp(1.0))}) < 1e-6);
  });
}

TEST_CASE("attention to equal keys is the mean of the values in the window") {
  on_every_attention([](auto& bench) {
    const attention_shape shape{1, 23, 1, 2, 3, 2};
    std::vector<double> rows, expected;
    for (int i = 0; i < 23; ++i) {
      rows.insert(rows.end(), {double(i), 1, 2, 3, double(i), 1});
      double sum = 0;
      int seen = 0;
      for (int j = i; j >= 0 && seen < 3; j -= 2, ++seen) sum += j;
      expected.insert(expected.end(), {sum / seen, 1});
    }
    const auto qkv = bench.of(rows, {23, 6}), y = bench.unset({23, 2});
    const auto log_sum_exp = bench.unset({1, 1, 23});
    attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
    CHECK(relative_error(bench.read(y), expected) < 1e-6);
  });
}

TEST_CASE("a key outside the window or in the future changes no bit") {
  struct window {
    index_type length, span;
    int dilation;
  };
  // In the last two, a tile of 16 queries and 64 keys has one pair that is not seen, or only one that is.
  for (const window& own : {window{50, 1, 1}, window{50, 5, 1}, window{50, 17, 1}, window{50, 100, 1}, window{50, 2, 3},
                            window{50, 33, 2}, window{120, 79, 1}, window{120, 18, 1}})
    on_every_attention([&](auto& bench) {
      const auto [length, span, dilation] = own;
      const attention_shape shape{2, length, 2, 10, span, dilation};
      CAPTURE_SHAPE(shape);
      const index_type rows = shape.batch * shape.length, dim = shape.dim();
      const auto qkv = bench.normal({rows, 3 * dim}), y = bench.unset({rows, dim});
      const auto log_sum_exp = bench.unset({shape.batch, shape.heads, shape.length});
      attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
      const std::vector<double> before = bench.read(y), original = bench.read(qkv);
      for (const index_type changed : {0, 1, 15, 16, 31, 49, 111}) {
        if (changed >= length) continue;
        std::vector<double> other = original;
        for (index_type d = dim; d < 3 * dim; ++d) other[static_cast<std::size_t>(changed * 3 * dim + d)] += 1 + d % 3;
        bench.write(qkv, other);
        attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
        const std::vector<double> after = bench.read(y);
        for (index_type r = 0; r < rows; ++r) {
          const index_type distance = r - changed;
          const bool sees = r < shape.length && distance >= 0 && distance % dilation == 0 && distance / dilation < span;
          const auto from = r * dim, to = from + dim;
          const bool same = std::equal(before.begin() + from, before.begin() + to, after.begin() + from);
          if (same == sees) FAIL_CHECK("row " << r << ", changed " << changed << ", sees it: " << sees);
        }
      }
    });
}

TEST_CASE("a query, key or value that is not a number shows in what sees it") {
  for (const index_type which : {0, 1, 2}) {
    // Some backends multiply unseen values by weights of 0; kernels of tensor cores promise not to.
    const auto law = [&](auto& bench, bool alone) {
      CAPTURE(which);
      const attention_shape shape{1, 20, 1, 6, 4, 1};
      const auto qkv = bench.normal({20, 18}), y = bench.unset({20, 6});
      const auto log_sum_exp = bench.unset({1, 1, 20});
      std::vector<double> values = bench.read(qkv);
      values[static_cast<std::size_t>(9 * 18 + which * 6 + 2)] = std::numeric_limits<double>::quiet_NaN();
      bench.write(qkv, values);
      attention(bench.backend, shape, {}, qkv, y, log_sum_exp);
      const std::vector<double> out = bench.read(y);
      for (index_type row = 0; row < 20; ++row) {
        CAPTURE(row);
        const std::vector<double> own(out.begin() + row * 6, out.begin() + (row + 1) * 6);
        const bool sees = row >= 9 && row < (which == 0 ? 10 : 13);
        if (sees || alone) CHECK(std::isfinite(dot(own, own)) == !sees);
      }
    };
    on_every_bench([&](auto& bench) { law(bench, false); });
    on_every_bench([&](auto& bench) { law(bench, true); }, setups::of_bfloat16);
  }
}

TEST_CASE("attention_step equals the reference") {
  for (const bool full : {false, true})
    for (const int head_dim : {2, 6, 10, 16, 32, 48, 64, 128})
      for (const index_type span : {1, 5, 33}) {
        const attention_shape shape{3, 1, 2, head_dim, span, 1};
        CAPTURE_SHAPE(shape);
        check_against_reference(2e-6, [&](auto& bench) {
          const index_type dim = shape.dim();
          const auto table = bench.of(rotary_distance_table<double>(facts_of(shape, full)), {2, span, head_dim / 2});
          const auto keys = bench.all(0, {shape.batch, span, dim}), values = bench.all(0, {shape.batch, span, dim});
          for (index_type count = 0; count < 2 * span; ++count) {
            const auto qkv = bench.normal({shape.batch, 3 * dim}), y = bench.unset({shape.batch, dim});
            attention_step(bench.backend, shape, count, qkv, table, keys, values, y);
            bench.result("y", y);
          }
          bench.result("keys", keys);
          bench.result("values", values);
        });
      }
}

TEST_CASE("steps over a sequence equal attention over the whole sequence") {
  for (const bool full : {false, true})
    for (const int head_dim : {6, 32})
      for (const index_type span : {1, 5, 33, 60})
        on_every_bench([&](auto& bench) {
          const attention_shape whole{2, 50, 3, head_dim, span, 1};
          CAPTURE_SHAPE(whole);
          CAPTURE(full);
          const index_type rows = whole.batch * whole.length, dim = whole.dim();
          const auto qkv = bench.normal({rows, 3 * dim}), y = bench.unset({rows, dim});
          const std::vector<double> inputs_of_all = bench.read(qkv);
          const auto log_sum_exp = bench.unset({whole.batch, whole.heads, whole.length});
          attention(bench.backend, whole, table_of(bench, whole, full), qkv, y, log_sum_exp);
          const std::vector<double> expected = bench.read(y);

          attention_shape one = whole;
          one.length = 1;
          const auto table = bench.of(rotary_distance_table<double>(facts_of(whole, full)), {2, span, head_dim / 2});
          const auto keys = bench.unset({whole.batch, span, dim}), values = bench.unset({whole.batch, span, dim});
          const auto row = bench.unset({whole.batch, 3 * dim}), out = bench.unset({whole.batch, dim});
          std::vector<double> got(expected.size());
          for (index_type i = 0; i < whole.length; ++i) {
            std::vector<double> inputs;
            for (index_type b = 0; b < whole.batch; ++b) {
              const auto from = inputs_of_all.begin() + (b * whole.length + i) * 3 * dim;
              inputs.insert(inputs.end(), from, from + 3 * dim);
            }
            bench.write(row, inputs);
            attention_step(bench.backend, one, i, row, table, keys, values, out);
            const std::vector<double> outputs = bench.read(out);
            for (index_type b = 0; b < whole.batch; ++b)
              std::copy_n(outputs.begin() + b * dim, dim, got.begin() + (b * whole.length + i) * dim);
          }
          // Two computations of the same scores, each with its own rounding.
          CHECK(relative_error(got, expected) < 5e-6);
        });
}

}  // namespace strata
