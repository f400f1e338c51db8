// The list that holds the levels of a description.
#include <strata/config/level.hpp>

#include "support/catch.hpp"

namespace {

constexpr strata::level_list two{{.dim = 4}, {.compression = 2, .dim = 5}};
constexpr strata::level_list with_more(int count) {
  strata::level_list own = two;
  for (int n = 0; n < count; ++n) own.push_back({.compression = 4 << n, .dim = 6 + n});
  return own;
}

}  // namespace

TEST_CASE("a list of levels counts, visits and compares the levels that were written") {
  STATIC_REQUIRE(strata::level_list{}.size() == 0);
  STATIC_REQUIRE(two.size() == 2);
  STATIC_REQUIRE(two[1].dim == 5);
  STATIC_REQUIRE(with_more(2).size() == 4);
  STATIC_REQUIRE(with_more(2)[3].dim == 7);
  STATIC_REQUIRE(with_more(0) == two);
  STATIC_REQUIRE(with_more(1) != two);
  int dims = 0;
  for (const strata::level& each : two) dims += each.dim;
  CHECK(dims == 9);
}

TEST_CASE("a list of more levels than a model has does not fit") {
  STATIC_REQUIRE(with_more(6).fits());
  STATIC_REQUIRE(!with_more(7).fits());
  STATIC_REQUIRE(!with_more(20).fits());
  int visited = 0;
  for ([[maybe_unused]] const strata::level& each : with_more(20)) ++visited;
  CHECK(visited == strata::most_levels);
}
