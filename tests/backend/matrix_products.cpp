// linear, linear_backward_input, linear_backward_weight; pack_bfloat16, pack_int8, linear_bfloat16, linear_int8.
#include "backend/setups.hpp"

namespace strata {

namespace {

/// As check_against_reference, with every provider of matrix products.
template <class Body>
void check_product(double tolerance, Body body) {
  check_against_reference(tolerance, body, setups::of_products);
}
template <class Bench, class Tensor>
Tensor rounded(Bench& bench, const Tensor& x) {
  std::vector<double> values = bench.read(x);
  for (double& value : values) value = static_cast<double>(to_float(to_bfloat16(static_cast<float>(value))));
  bench.write(x, values);
  return x;
}
/// As check_product of `body(bench, factor)`, where factor(x) is a factor of a matrix product. In bfloat16 the
/// reference gets factors that are rounded beforehand. A looser bound would not do: a sum may cancel, its rounding
/// errors do not.
template <class Body>
void check_float_product(double tolerance, Body body) {
  check_product(tolerance, [&](auto& bench) { body(bench, [](auto x) { return x; }); });
  check_against_reference(
      tolerance,
      [&](auto& bench) {
        body(bench, [&](auto x) {
          if constexpr (std::is_same_v<typename std::decay_t<decltype(bench)>::scalar, double>) rounded(bench, x);
          return x;
        });
      },
      setups::of_bfloat16);
}

struct product_size {
  index_type rows, in, out;
};

/// Few rows have their own path; large sizes use several threads.
std::vector<product_size> product_sizes() {
  std::vector<product_size> sizes;
  for (const index_type rows : {1, 2, 3, 4, 5, 31, 70, 300})
    for (const auto& [in, out] : {std::pair<index_type, index_type>{1, 1}, {10, 33}, {67, 130}, {131, 5}})
      sizes.push_back({rows, in, out});
  sizes.push_back({3, 257, 301});   // few rows, and still several threads
  sizes.push_back({20, 300, 270});  // sums computed in two parts
  // Rows a power of two apart, which some providers copy first; split by rows and by columns.
  sizes.insert(sizes.end(), {{70, 128, 256}, {70, 256, 128}, {256, 128, 130}});
  return sizes;
}

}  // namespace

TEST_CASE("linear equals the reference") {
  for (const auto& [rows, in, out] : product_sizes())
    for (const update mode : {update::replace, update::add})
      for (const bool with_bias : {false, true}) {
        CAPTURE(rows, in, out, mode == update::add, with_bias);
        check_float_product(1e-6, [&, rows = rows, in = in, out = out](auto& bench, auto factor) {
          const auto x = bench.normal({rows, in}), weight = bench.normal({out, in});
          const auto bias = bench.normal({out});
          const auto y = mode == update::add ? bench.normal({rows, out}) : bench.unset({rows, out});
          linear(bench.backend, factor(x), factor(weight), with_bias ? bias : decltype(bias){}, y, mode);
          bench.result("y", y);
        });
      }
}

TEST_CASE("the gradients of linear equal the reference") {
  for (const auto& [rows, in, out] : product_sizes()) {
    CAPTURE(rows, in, out);
    for (const update mode : {update::replace, update::add})
      check_float_product(1e-6, [&, rows = rows, in = in, out = out](auto& bench, auto factor) {
        const auto dy = bench.normal({rows, out}), weight = bench.normal({out, in});
        const auto dx = mode == update::add ? bench.normal({rows, in}) : bench.unset({rows, in});
        linear_backward_input(bench.backend, factor(dy), factor(weight), dx, mode);
        bench.result("dx", dx);
      });
    for (const bool with_bias : {false, true})  // a sum over up to 300 rows may cancel
      check_float_product(3e-6, [&, rows = rows, in = in, out = out](auto& bench, auto factor) {
        const auto dy = bench.normal({rows, out}), x = bench.normal({rows, in});
        const auto dweight = bench.normal({out, in});
        const auto dbias = bench.normal({out});  // a sum of numbers that are not rounded
        linear_backward_weight(bench.backend, with_bias ? rounded(bench, dy) : factor(dy), factor(x), dweight,
                               with_bias ? dbias : decltype(dbias){});
        bench.result("dweight", dweight);
        bench.result("dbias", dbias);
      });
  }
}

TEST_CASE("bfloat16 rounds both inputs to the nearest number, ties to the even one, and adds in float") {
  on_every_bench(
      [](auto& bench) {
        const double step = 1.0 / 128, infinity = std::numeric_limits<double>::infinity();
        const std::vector<double> given{1 + 0.49 * step, 1 + 0.5 * step,   1 + 0.51 * step,
                                        1 + 1.5 * step,  -1 - 0.51 * step, infinity};
        const std::vector<double> expected{1, 1, 1 + step, 1 + 2 * step, -1 - step, infinity};
        const auto numbers = bench.of(given, {6, 1}), one = bench.all(1, {1, 1}), y = bench.unset({6, 1});
        linear(bench.backend, numbers, one, {}, y, update::replace);
        CHECK(bench.read(y) == expected);
        const auto as_weight = bench.unset({1, 6});
        linear(bench.backend, one, numbers, {}, as_weight, update::replace);
        CHECK(bench.read(as_weight) == expected);
        linear(bench.backend, bench.unset({6, 1}), one, {}, y, update::replace);
        CHECK(std::isnan(bench.read(y)[5]));

        std::vector<double> large(512, 1);
        large[0] = 256;  // from here a sum in bfloat16 does not grow
        const auto sum = bench.unset({1, 1});
        linear(bench.backend, bench.all(1, {1, 512}), bench.of(large, {1, 512}), {}, sum, update::replace);
        CHECK(bench.read(sum)[0] == 256 + 511);
      },
      setups::of_bfloat16);
}

TEST_CASE("linear takes slices that start on any element") {
  for (const index_type offset : {0, 1, 2, 4}) {
    CAPTURE(offset);
    check_float_product(1e-6, [&](auto& bench, auto factor) {
      const auto x = bench.normal({8, 16}), weight = bench.normal({16, 16}), y = bench.unset({8, 16});
      auto bias = bench.normal({32});
      bias.data += offset;
      bias.shape = {16};
      linear(bench.backend, factor(x), factor(weight), bias, y, update::replace);
      bench.result("y", y);
    });
  }
}

TEST_CASE("products without terms are the bias, or nothing") {
  for (const setups which : {setups::of_products, setups::of_bfloat16})
    on_every_bench(
        [](auto& bench) {
          const auto x = bench.normal({3, 0}), weight = bench.normal({2, 0}), none = bench.normal({0, 2});
          const auto bias = bench.of({1, -1}, {2});
          const auto y = bench.unset({3, 2});
          linear(bench.backend, x, weight, bias, y, update::replace);
          CHECK(bench.read(y) == std::vector<double>{1, -1, 1, -1, 1, -1});
          linear(bench.backend, x, weight, bias, y, update::add);
          CHECK(bench.read(y) == std::vector<double>{2, -2, 2, -2, 2, -2});
          linear(bench.backend, x, weight, {}, y, update::add);
          CHECK(bench.read(y) == std::vector<double>{2, -2, 2, -2, 2, -2});
          linear(bench.backend, x, weight, {}, y, update::replace);
          CHECK(bench.read(y) == std::vector<double>(6, 0.0));
          // No rows: gradients stay; no outputs: there is no gradient of the input.
          const auto dweight = bench.all(3, {2, 2}), dx = bench.unset({3, 2});
          const auto dbias = bench.all(4, {2});
          linear_backward_weight(bench.backend, none, none, dweight, dbias);
          CHECK(bench.read(dweight) == std::vector<double>(4, 3.0));
          CHECK(bench.read(dbias) == std::vector<double>(2, 4.0));
          linear_backward_input(bench.backend, x, none, dx, update::replace);
          CHECK(bench.read(dx) == std::vector<double>(6, 0.0));
        },
        which);
}

TEST_CASE("linear with packed weights equals the reference") {
  for (const auto& [rows, in, out] : product_sizes())
    for (const update mode : {update::replace, update::add})
      for (const bool with_bias : {false, true}) {
        if ((mode == update::add) == with_bias && rows * out > 1000) continue;  // large ones take two of the four
        CAPTURE(rows, in, out, mode == update::add, with_bias);
        const auto body = [&, rows = rows, in = in, out = out](auto& bench, auto multiply) {
          const auto x = bench.normal({rows, in});
          const auto bias = bench.normal({out});
          const auto y = mode == update::add ? bench.normal({rows, out}) : bench.unset({rows, out});
          multiply(x, with_bias ? bias : decltype(bias){}, y);
          bench.result("y", y);
        };
        check_product(1e-6, [&, in = in, out = out](auto& bench) {
          body(bench, [&](auto x, auto bias, auto y) {
            const auto packed = bench.template unset_of<bfloat16>({out, in});
            pack_bfloat16(bench.backend, bench.normal({out, in}).flat(), packed.flat());
            linear_bfloat16(bench.backend, x, packed, bias, y, mode);
          });
        });
        check_product(1e-6, [&, in = in, out = out](auto& bench) {
          body(bench, [&](auto x, auto bias, auto y) {
            // Multiples of 1/64 up to 127/64 are packed alike in float and in double.
            std::vector<double> weights;
            for (index_type n = 0; n < out * in; ++n)
              weights.push_back(double(n % in == 0 ? 127 : n * 37 % 255 - 127) / 64);
            const auto packed = bench.template unset_of<std::int8_t>({out, in});
            const auto scale = bench.unset({out});
            pack_int8(bench.backend, bench.of(weights, {out, in}), packed, scale);
            linear_int8(bench.backend, x, packed, scale, bias, y, mode);
          });
        });
      }
}

TEST_CASE("packed weights: known values") {
  on_every_bench([](auto& bench) {
    // A number halfway between two neighbours becomes the even one.
    const double infinity = std::numeric_limits<double>::infinity(), step = 1.0 / 128;
    const auto half =
        bench.of({1, 1 + step / 2, 1 + 1.5 * step, -1 - 0.51 * step, 3e38, infinity, 0, std::ldexp(1, -133)}, {8});
    const auto halves = bench.template unset_of<bfloat16>({8});
    pack_bfloat16(bench.backend, half, halves);
    const std::vector<double> rounded = bench.read(halves);
    CHECK(std::vector<double>(rounded.begin(), rounded.begin() + 4) ==
          std::vector<double>{1, 1, 1 + 2 * step, -1 - step});
    CHECK(rounded[4] == Approx(3e38).epsilon(0.004));
    CHECK(rounded[5] == infinity);
    CHECK(rounded[6] == 0);
    CHECK(rounded[7] == std::ldexp(1, -133));
    pack_bfloat16(bench.backend, bench.unset({8}), halves);
    CHECK(std::isnan(bench.read(halves)[3]));

    const auto weight = bench.of({254, -127,  101,   1, -5,     0,     0, 0, 0, 0,        0.5, 0.3, -0.1,
                                  0,   -0.25, 1e-45, 0, -1e-45, 3e-45, 0, 1, 2, infinity, 4,   5},
                                 {5, 5});
    const auto packed = bench.template unset_of<std::int8_t>({5, 5});
    const auto scale = bench.unset({5});
    pack_int8(bench.backend, weight, packed, scale);
    const std::vector<double> numbers = bench.read(packed), scales = bench.read(scale);
    CHECK(std::vector<double>(numbers.begin(), numbers.begin() + 15) ==
          std::vector<double>{127, -64, 50, 0, -2, 0, 0, 0, 0, 0, 127, 76, -25, 0, -64});
    CHECK(scales[0] == 2);
    CHECK(scales[1] == 0);
    CHECK(scales[2] == Approx(0.5 / 127));
    CHECK(scales[3] < 1e-44);  // tiny or 0, but no number was too large
    CHECK(std::isnan(scales[4]));
    const auto y = bench.unset({1, 5});
    linear_int8(bench.backend, bench.all(1, {1, 5}), packed, scale, {}, y, update::replace);
    CHECK(bench.read(y)[0] == 222);
    CHECK(bench.read(y)[1] == 0);
    CHECK(std::isnan(bench.read(y)[4]));
  });
}

TEST_CASE("linear: known values") {
  // One row, then five: the path of few rows, and the other.
  for (const index_type rows : {1, 5})
    on_every_bench(
        [&](auto& bench) {
          const auto times = [&](std::vector<double> row) {
            std::vector<double> all;
            for (index_type r = 0; r < rows; ++r) all.insert(all.end(), row.begin(), row.end());
            return all;
          };
          const auto x = bench.of(times({1, 2}), {rows, 2}), y = bench.unset({rows, 3});
          const auto weight = bench.of({3, 4, 5, 6, 7, 8}, {3, 2});
          const auto bias = bench.of({1, -1, 0}, {3});
          linear(bench.backend, x, weight, {}, y, update::replace);
          CHECK(bench.read(y) == times({11, 17, 23}));
          linear(bench.backend, x, weight, bias, y, update::replace);
          CHECK(bench.read(y) == times({12, 16, 23}));
          linear(bench.backend, x, weight, bias, y, update::add);
          CHECK(bench.read(y) == times({24, 32, 46}));

          const auto dy = bench.of(times({1, 10, 100}), {rows, 3}), dx = bench.unset({rows, 2});
          linear_backward_input(bench.backend, dy, weight, dx, update::replace);
          CHECK(bench.read(dx) == times({753, 864}));
          linear_backward_input(bench.backend, dy, weight, dx, update::add);
          CHECK(bench.read(dx) == times({1506, 1728}));

          const auto dweight = bench.all(1, {3, 2});
          const auto dbias = bench.all(2, {3});
          linear_backward_weight(bench.backend, dy, x, dweight, dbias);
          const double n = static_cast<double>(rows);
          CHECK(bench.read(dweight) ==
                std::vector<double>{1 + n, 1 + 2 * n, 1 + 10 * n, 1 + 20 * n, 1 + 100 * n, 1 + 200 * n});
          CHECK(bench.read(dbias) == std::vector<double>{2 + n, 2 + 10 * n, 2 + 100 * n});
        },
        setups::of_products);
}

}  // namespace strata
