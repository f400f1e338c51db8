// cross_attention, its gradient, one step of it over a ring, and keep_row, which fills the ring.
#include "backend/setups.hpp"

namespace strata {

namespace {

cross_attention_shape shape_of(index_type batch, index_type tokens, int query_stride, int key_stride, int heads,
                               int head_dim, index_type span) {
  return {batch,        (tokens + query_stride - 1) / query_stride,
          query_stride, (tokens + key_stride - 1) / key_stride,
          key_stride,   heads,
          head_dim,     span};
}

/// Calls `body(shape)`; batch and heads change from shape to shape.
template <class Body>
void for_cross_attention_shapes(Body body) {
  int number = 0;
  for (const int head_dim : {2, 6, 16, 40})
    for (const index_type tokens : {1, 2, 17, 75})
      for (const auto& [query_stride, key_stride] :
           {std::pair<int, int>{1, 1}, {1, 2}, {1, 16}, {2, 1}, {16, 1}, {2, 8}, {8, 2}})
        for (const index_type span : {1, 5, 16, 33}) {
          ++number;
          if (tokens == 1 && query_stride + key_stride > 2) continue;  // strides do not matter for one token
          // Every combination of lengths, strides and spans with two of the head widths.
          if ((number + (head_dim == 6 || head_dim == 40)) % 2 != 0) continue;
          body(shape_of(1 + number % 3, tokens, query_stride, key_stride, 1 + number / 2 % 3, head_dim, span));
        }
  body(shape_of(2, 301, 1, 1, 3, 32, 130));
  body(shape_of(2, 301, 2, 1, 3, 64, 400));
  body(shape_of(2, 97, 1, 2, 2, 128, 33));
}

#define CAPTURE_CROSS(shape)                                                                                         \
  CAPTURE(shape.batch, shape.queries, shape.query_stride, shape.keys, shape.key_stride, shape.heads, shape.head_dim, \
          shape.span)

/// The inputs that belong to one sequence of keys.
template <class Bench>
struct source {
  using matrix = view<typename Bench::scalar, 2>;
  cross_attention_shape shape;
  matrix key_value, bias;
  source(Bench& bench, const cross_attention_shape& own)
      : shape(own),
        key_value(bench.normal({own.batch * own.keys, 2 * own.dim()})),
        bias(bench.normal({index_type{own.heads}, own.span})) {}
};

}  // namespace

TEST_CASE("cross_attention and its gradient equal the reference") {
  for_cross_attention_shapes([](const cross_attention_shape& shape) {
    CAPTURE_CROSS(shape);
    // As attention, but a score also has a bias, and a gradient may cancel the numbers it is added to.
    check_against_reference(2e-5, [&](auto& bench) {
      const index_type rows = shape.batch * shape.queries, dim = shape.dim();
      cross_attention_shape other = shape;  // the queries see their own sequence too
      other.keys = shape.queries;
      other.key_stride = shape.query_stride;
      other.span = 3;
      const source first(bench, shape), second(bench, other);
      const auto query = bench.normal({rows, dim}), y = bench.unset({rows, dim});
      const auto log_sum_exp = bench.unset({shape.batch, shape.heads, shape.queries});
      update mode = update::replace;
      for (const auto& each : {first, second}) {
        cross_attention(bench.backend, each.shape, query, each.key_value, each.bias, y, log_sum_exp, mode);
        bench.result("y", y);
        bench.result("log_sum_exp", log_sum_exp);
        mode = update::add;
      }
      const auto dy = bench.normal({rows, dim}), dquery = bench.normal({rows, dim});
      for (const auto& each : {first, second}) {
        const auto dkey_value = bench.normal({each.key_value.shape[0], 2 * dim});
        // Added to 5, because a sum over all queries may be near 0.
        const auto dbias = bench.all(5, {index_type{shape.heads}, each.shape.span});
        cross_attention_backward(bench.backend, each.shape, query, each.key_value, each.bias, y, log_sum_exp, dy,
                                 dquery, dkey_value, dbias);
        bench.result("dquery", dquery);
        bench.result("dkey_value", dkey_value);
        bench.result("dbias", dbias);
      }
    });
  });
}

TEST_CASE("cross_attention: known values") {
  on_every_bench([](auto& bench) {
    // Scores are the biases: log 3 for the newest key, else 0. Queries are at tokens 0, 2 and 4, keys at 0, 1, .., 4.
    const cross_attention_shape shape{1, 3, 2, 5, 1, 1, 2, 2};
    const auto query = bench.all(0, {3, 2}), y = bench.unset({3, 2});
    const auto key_value = bench.of({1, 1, 8, 4, 1, 1, 0, 0, 1, 1, 4, 0, 1, 1, 0, 8, 1, 1, 4, 4}, {5, 4});
    const auto bias = bench.of({std::log(3.0), 0}, {1, 2});
    const auto log_sum_exp = bench.unset({1, 1, 3});
    cross_attention(bench.backend, shape, query, key_value, bias, y, log_sum_exp, update::replace);
    CHECK(relative_error(bench.read(y), {8, 4, 3, 0, 3, 5}) < 1e-6);
    CHECK(relative_error(bench.read(log_sum_exp), {std::log(3.0), std::log(4.0), std::log(4.0)}) < 1e-6);
    // The same keys again change nothing but the sum.
    cross_attention(bench.backend, shape, query, key_value, bias, y, log_sum_exp, update::add);
    CHECK(relative_error(bench.read(y), {8, 4, 3, 0, 3, 5}) < 1e-6);
    CHECK(relative_error(bench.read(log_sum_exp), {std::log(6.0), std::log(8.0), std::log(8.0)}) < 1e-6);
  });
}

TEST_CASE("cross_attention to all keys in two calls is the softmax over both") {
  on_every_bench([](auto& bench) {
    const cross_attention_shape half = shape_of(2, 30, 1, 2, 2, 6, 4), whole = shape_of(2, 30, 1, 1, 2, 6, 8);
    const index_type rows = 60, dim = half.dim();
    const source all(bench, whole);
    const auto query = bench.normal({rows, dim}), expected = bench.unset({rows, dim}), y = bench.unset({rows, dim});
    const auto log_sum_exp = bench.unset({2, 2, 30});
    const auto bias = bench.all(0.5, {2, 8});
    cross_attention(bench.backend, whole, query, all.key_value, bias, expected, log_sum_exp, update::replace);
    const std::vector<double> keys = bench.read(all.key_value);
    update mode = update::replace;
    for (const index_type first : {0, 1}) {  // keys at even tokens, then keys at odd tokens
      std::vector<double> some;
      for (index_type r = 0; r < rows; ++r)
        if (r % 2 == first) some.insert(some.end(), keys.begin() + r * 2 * dim, keys.begin() + (r + 1) * 2 * dim);
      const auto part = bench.of(some, {rows / 2, 2 * dim});
      const auto part_bias = bench.all(0.5, {2, 4});
      cross_attention(bench.backend, half, query, part, part_bias, y, log_sum_exp, mode);
      mode = update::add;
    }
    // Odd queries see the same last 8 keys either way.
    const std::vector<double> wanted = bench.read(expected), got = bench.read(y);
    for (index_type r = 1; r < rows; r += 2) {
      const auto from = r * dim, to = from + dim;
      CHECK(relative_error({got.begin() + from, got.begin() + to}, {wanted.begin() + from, wanted.begin() + to}) <
            2e-6);
    }
  });
}

TEST_CASE("a key that a query does not see changes no bit of cross_attention") {
  for (const auto& [query_stride, key_stride] : {std::pair<int, int>{1, 1}, {1, 4}, {4, 1}, {2, 8}})
    for (const index_type span : {1, 5, 20})
      on_every_bench([&, query_stride = query_stride, key_stride = key_stride](auto& bench) {
        const cross_attention_shape shape = shape_of(2, 50, query_stride, key_stride, 2, 10, span);
        CAPTURE_CROSS(shape);
        const index_type rows = shape.batch * shape.queries, dim = shape.dim();
        const source keys(bench, shape);
        const auto query = bench.normal({rows, dim}), y = bench.unset({rows, dim});
        const auto log_sum_exp = bench.unset({shape.batch, shape.heads, shape.queries});
        const auto attend = [&] {
          cross_attention(bench.backend, shape, query, keys.key_value, keys.bias, y, log_sum_exp, update::replace);
          return bench.read(y);
        };
        const std::vector<double> before = attend(), original = bench.read(keys.key_value);
        for (index_type changed = 0; changed < shape.keys; changed += 3) {
          std::vector<double> other = original;
          for (index_type d = 0; d < 2 * dim; ++d) other[static_cast<std::size_t>(changed * 2 * dim + d)] += 1 + d % 3;
          bench.write(keys.key_value, other);
          const std::vector<double> after = attend();
          for (index_type r = 0; r < rows; ++r) {
            const index_type token = r * query_stride, distance = token / key_stride - changed;
            const bool sees = r < shape.queries && distance >= 0 && distance < span;
            const auto from = r * dim, to = from + dim;
            const bool same = std::equal(before.begin() + from, before.begin() + to, after.begin() + from);
            if (same == sees) FAIL_CHECK("row " << r << ", changed " << changed << ", sees it: " << sees);
          }
        }
      });
}

TEST_CASE("steps over rings equal cross_attention over whole sequences") {
  for (const int head_dim : {6, 32, 64, 128})
    for (const auto& [query_stride, key_stride] : {std::pair<int, int>{1, 1}, {1, 4}, {4, 1}, {2, 8}})
      for (const index_type span : {1, 5, 33}) {
        if (head_dim > 32 && query_stride * key_stride != 4) continue;  // wide heads with some strides only
        on_every_bench([&, query_stride = query_stride, key_stride = key_stride](auto& bench) {
          const index_type tokens = 50;
          const cross_attention_shape shape = shape_of(2, tokens, query_stride, key_stride, 3, head_dim, span);
          const cross_attention_shape other = shape_of(2, tokens, query_stride, 2, 3, head_dim, 4);
          CAPTURE_CROSS(shape);
          const index_type rows = shape.batch * shape.queries, dim = shape.dim();
          const source first(bench, shape), second(bench, other);
          const auto query = bench.normal({rows, dim}), y = bench.unset({rows, dim});
          const auto log_sum_exp = bench.unset({2, 3, shape.queries});
          cross_attention(bench.backend, shape, query, first.key_value, first.bias, y, log_sum_exp, update::replace);
          cross_attention(bench.backend, other, query, second.key_value, second.bias, y, log_sum_exp, update::add);
          const std::vector<double> expected = bench.read(y), queries = bench.read(query);

          const auto rows_of = [](const std::vector<double>& from, index_type length, index_type i, index_type width) {
            std::vector<double> both;
            for (index_type b = 0; b < 2; ++b)
              both.insert(both.end(), from.begin() + (b * length + i) * width,
                          from.begin() + (b * length + i + 1) * width);
            return both;
          };
          const auto one_query = bench.unset({2, dim}), out = bench.unset({2, dim});
          const auto pair = bench.unset({2, 2 * dim});
          const auto total = bench.unset({2, 3, 1});
          const auto near = bench.unset({2, span, 2 * dim}), far = bench.unset({2, 4, 2 * dim});
          const std::vector<double> near_rows = bench.read(first.key_value), far_rows = bench.read(second.key_value);
          std::vector<double> got(expected.size());
          for (index_type t = 0; t < tokens; ++t) {
            const auto keep = [&](const cross_attention_shape& own, const std::vector<double>& all, const auto& ring) {
              if (t % own.key_stride != 0) return;
              bench.write(pair, rows_of(all, own.keys, t / own.key_stride, 2 * dim));
              keep_row(bench.backend, pair, t / own.key_stride, ring);
            };
            keep(shape, near_rows, near);
            keep(other, far_rows, far);
            if (t % query_stride != 0) continue;
            const index_type i = t / query_stride;
            bench.write(one_query, rows_of(queries, shape.queries, i, dim));
            cross_attention_step(bench.backend, shape, t / key_stride + 1, one_query, near, first.bias, out, total,
                                 update::replace);
            cross_attention_step(bench.backend, other, t / 2 + 1, one_query, far, second.bias, out, total, update::add);
            const std::vector<double> outputs = bench.read(out);
            for (index_type b = 0; b < 2; ++b)
              std::copy_n(outputs.begin() + b * dim, dim, got.begin() + (b * shape.queries + i) * dim);
          }
          CHECK(relative_error(got, expected) < 5e-6);  // two computations, each with its own rounding
        });
      }
}

}  // namespace strata
