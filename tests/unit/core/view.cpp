// Views: the address of each element, and views cut from them.
#include <numeric>
#include <vector>

#include <strata/core/view.hpp>

#include "support/catch.hpp"

using strata::view;

namespace {

struct fixture {
  std::vector<int> memory = [] {
    std::vector<int> numbers(24);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }();
  view<int, 3> x{memory.data(), {2, 3, 4}};
};

}  // namespace

TEST_CASE_METHOD(fixture, "view: elements are row-major") {
  int expected = 0;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 3; ++j)
      for (int k = 0; k < 4; ++k) CHECK(x(i, j, k) == expected++);
  CHECK(x.size() == 24);
  x(1, 2, 3) = -5;
  CHECK(memory.back() == -5);
}

TEST_CASE_METHOD(fixture, "view: an entry of the first axis") {
  const view<int, 2> second = x[1];
  CHECK(second.shape == std::array<strata::index_type, 2>{3, 4});
  CHECK(second(0, 0) == 12);
  const view<int, 1> row = x[1][2];
  CHECK(row.shape[0] == 4);
  CHECK(row(3) == 23);
}

TEST_CASE_METHOD(fixture, "view: a slice of the first axis") {
  const view<int, 2> last_rows = x[0].slice(1, 2);
  CHECK(last_rows.shape == std::array<strata::index_type, 2>{2, 4});
  CHECK(last_rows(0, 0) == 4);
  CHECK(last_rows(1, 3) == 11);
  CHECK(x.slice(1, 1)(0, 0, 0) == 12);
  CHECK(x.slice(2, 0).size() == 0);
}

TEST_CASE_METHOD(fixture, "view: other shapes of the same elements") {
  const view<int, 2> wide = x.reshape<2>({4, 6});
  CHECK(wide(1, 0) == 6);
  CHECK(wide(3, 5) == 23);
  const view<int, 2> rows = x.rows();
  CHECK(rows.shape == std::array<strata::index_type, 2>{6, 4});
  CHECK(rows(5, 1) == 21);
  CHECK(x.flat().shape[0] == 24);
  CHECK(x.flat()(17) == 17);
  CHECK(view<int, 3>(memory.data(), {2, 0, 4}).rows().shape == std::array<strata::index_type, 2>{0, 4});
  CHECK(view<int, 2>(memory.data(), {3, 0}).rows().shape == std::array<strata::index_type, 2>{0, 0});
}

TEST_CASE_METHOD(fixture, "view: empty, and constant") {
  CHECK_FALSE(view<float, 2>());
  CHECK(view<float, 2>().size() == 0);
  CHECK(x);
  const view<const int, 3> read_only = x;
  CHECK(read_only(1, 0, 2) == 14);
  STATIC_REQUIRE(std::is_convertible_v<view<int, 2>, view<const int, 2>>);
  STATIC_REQUIRE_FALSE(std::is_convertible_v<view<const int, 2>, view<int, 2>>);
  STATIC_REQUIRE_FALSE(std::is_invocable_v<view<int, 2>, int>);
}
