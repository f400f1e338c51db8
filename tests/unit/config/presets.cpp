// The presets keep the rules and have the documented sizes.
#include <algorithm>
#include <array>

#include <strata/config/facts.hpp>
#include <strata/config/presets.hpp>
#include <strata/config/rules.hpp>
#include <strata/model/parameters.hpp>

#include "support/catch.hpp"

namespace presets = strata::presets;

TEST_CASE("presets keep the rules") {
  STATIC_REQUIRE(strata::rules::check<presets::small>);
  STATIC_REQUIRE(strata::rules::check<presets::base>);
  STATIC_REQUIRE(strata::rules::check<presets::half_minute>);
  STATIC_REQUIRE(strata::rules::check<presets::two_minutes>);
  STATIC_REQUIRE(strata::rules::check<presets::ten_minutes>);
  STATIC_REQUIRE(strata::rules::check<presets::one_hour>);
  STATIC_REQUIRE(strata::rules::check<presets::ten_hours>);
}

TEST_CASE("presets attend within windows and predict bytes") {
  STATIC_REQUIRE(presets::small.vocabulary == 256);
  for (const auto& level : strata::facts<presets::small>::levels) CHECK_FALSE(level.full);
  for (const auto& level : strata::facts<presets::base>::levels) CHECK_FALSE(level.full);
  CHECK(strata::facts<presets::small>::predicting_level == 0);
  CHECK(strata::facts<presets::base>::levels[1].span == 65);
}

TEST_CASE("presets: parameters, counted by hand") {
  // Embedding, two levels and merges of 4 layers, norms, head and the heads of the losses.
  constexpr strata::index_type d = 128, e = 192, v = 256;
  constexpr strata::index_type attention = 3 * 128 * (d + e) + 128 * (d + e) + 2 * (d + e);
  constexpr strata::index_type feed_forward = 8 * (d * d + e * e) + d + e;
  constexpr strata::index_type merge = (d + e) + 2 * d * (d + e) + 2 * d + 2 * d * d + d;
  constexpr strata::index_type compress = d * e + (4 * e * e * 2 + 4 * e) + (4 * e * e + e);
  constexpr strata::index_type norms = 2 * 2 * (d + e);
  constexpr strata::index_type losses = 2 * v * e + e * e + e;
  STATIC_REQUIRE(strata::parameters<presets::small>::count ==
                 v * e + compress + norms + 4 * (attention + feed_forward + merge) + v * d + losses);
}

TEST_CASE("presets named by a time grow with it") {
  // Embedding, norm, 4 layers, norm and head.
  constexpr strata::index_type d = 128, v = 256, layer = 4 * d * d + 8 * d * d + 3 * d;
  STATIC_REQUIRE(strata::parameters<presets::two_minutes>::count == v * d + 2 * d + 4 * layer + 2 * d + v * d);
  constexpr std::array sizes{
      strata::parameters<presets::half_minute>::count, strata::parameters<presets::two_minutes>::count,
      strata::parameters<presets::ten_minutes>::count, strata::parameters<presets::one_hour>::count,
      strata::parameters<presets::ten_hours>::count};
  STATIC_REQUIRE(std::ranges::is_sorted(sizes));
}
