// The functions on vectors of floats against those of the standard library in double.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <strata/backend/cpu/kernels.hpp>

#include "support/catch.hpp"

namespace vector = strata::kernels::baseline::vector;

namespace {

/// f(x) in one lane, to compare it with the others.
template <class Function>
float lane_by_lane(float x, Function f) {
  vector::floats input = vector::all(1.f);
  input[vector::lanes - 1] = x;
  return f(input)[vector::lanes - 1];
}

}  // namespace

TEST_CASE("vector: exp to two units in the last place") {
  double worst = 0;
  for (double x = -86.9; x < 88; x += 0.0101) {
    const double exact = std::exp(static_cast<double>(static_cast<float>(x)));
    const double got = static_cast<double>(lane_by_lane(static_cast<float>(x), [](auto v) { return vector::exp(v); }));
    worst = std::max(worst, std::abs(got - exact) / exact);
  }
  CHECK(worst < 2 * 1.2e-7);
  const auto exp_of = [](float x) { return lane_by_lane(x, [](auto v) { return vector::exp(v); }); };
  CHECK(exp_of(0) == 1);
  CHECK(exp_of(-88) == 0);
  CHECK(exp_of(-1e30f) == 0);
  CHECK(exp_of(-INFINITY) == 0);
  CHECK(std::isfinite(exp_of(1e30f)));
  CHECK(exp_of(1e30f) > 1e38f);
  CHECK(std::isnan(exp_of(NAN)));
  CHECK(std::isnan(exp_of(-NAN)));
}

TEST_CASE("vector: erf") {
  double worst = 0;
  for (double x = -6; x < 6; x += 0.00101) {
    const double exact = std::erf(static_cast<double>(static_cast<float>(x)));
    const double got = static_cast<double>(lane_by_lane(static_cast<float>(x), [](auto v) { return vector::erf(v); }));
    worst = std::max(worst, std::abs(got - exact));
  }
  CHECK(worst < 4e-7);
  CHECK(std::abs(lane_by_lane(1e30f, [](auto v) { return vector::erf(v); }) - 1) < 4e-7f);
}

TEST_CASE("vector: sums and largest lanes") {
  vector::floats x = vector::all(0.5f);
  CHECK(vector::sum(x) == 0.5f * vector::lanes);
  for (int lane = 0; lane < vector::lanes; ++lane) {
    vector::floats one = vector::all(-3.f);
    one[lane] = -2.f;
    CHECK(vector::largest(one) == -2.f);
    vector::floats only{};
    only[lane] = 4.f;
    CHECK(vector::sum(only) == 4.f);
    CHECK(vector::count_up()[lane] == lane);
  }
}

TEST_CASE("vector: whole vectors load and store at any address") {
  STATIC_REQUIRE(alignof(vector::unaligned_floats) == 4);
  std::vector<float> from(4 * vector::lanes), to(4 * vector::lanes);
  std::iota(from.begin(), from.end(), 0.f);
  for (int offset = 0; offset < vector::lanes; ++offset) {
    vector::store(to.data() + offset + 1, vector::load(from.data() + offset));
    CHECK(std::equal(from.begin() + offset, from.begin() + offset + vector::lanes, to.begin() + offset + 1));
  }
}

TEST_CASE("vector: for_each visits every element once and none beyond") {
  for (strata::index_type count = 0; count < 3 * vector::lanes + 2; ++count) {
    std::vector<float> x(static_cast<std::size_t>(count), 1.f), y(static_cast<std::size_t>(count) + 1, 7.f);
    vector::for_each(
        count, [&](strata::index_type n, auto load, auto store) { store(y.data() + n, load(x.data() + n) + 1.f); });
    CHECK(std::count(y.begin(), y.end(), 2.f) == count);
    CHECK(y.back() == 7.f);
  }
}
