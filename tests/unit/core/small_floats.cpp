// Numbers of 16 and 8 bits, against the definitions of their formats.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <strata/core/small_floats.hpp>

#include "support/catch.hpp"

namespace {

/// A number of `exponent_bits` and `fraction_bits`, as IEEE 754 defines it: subnormal numbers have no leading one.
double by_definition(unsigned bits, int exponent_bits, int fraction_bits) {
  const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
  const int fraction = static_cast<int>(bits) & ((1 << fraction_bits) - 1), bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1 : 1;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

bool same(double left, double right) { return left == right && std::signbit(left) == std::signbit(right); }

/// Whether no neighbour of `rounded` is nearer to `x`, nor as near if `rounded` is odd.
template <class Small, class Number>
bool is_nearest(Small rounded, Number x) {
  const auto at = [&](int step) {
    return static_cast<double>(to_float(Small{static_cast<std::uint16_t>(rounded.bits + step)}));
  };
  const double own = std::abs(at(0) - static_cast<double>(x));
  for (const int step : {-1, 1}) {
    const double other = std::abs(at(step) - static_cast<double>(x));
    if (other < own || (other == own && rounded.bits % 2 != 0)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("small floats: every pattern of 16 bits is the number that it should be, and comes back") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const strata::float16 half{static_cast<std::uint16_t>(bits)};
    const strata::bfloat16 upper{half.bits};
    if ((bits & 0x7c00) != 0x7c00) REQUIRE(same(to_float(half), by_definition(bits, 5, 10)));
    if ((bits & 0x7f80) != 0x7f80) REQUIRE(same(to_float(upper), by_definition(bits, 8, 7)));
    const bool half_is_nan = std::isnan(to_float(half)), upper_is_nan = std::isnan(to_float(upper));
    REQUIRE(half_is_nan == ((bits & 0x7fff) > 0x7c00));
    REQUIRE(upper_is_nan == ((bits & 0x7fff) > 0x7f80));
    REQUIRE(std::signbit(to_float(half)) == (bits >= 0x8000));
    // A signalling NaN becomes a quiet one.
    REQUIRE(strata::to_float16(to_float(half)).bits == (half_is_nan ? bits | 0x200 : bits));
    REQUIRE(strata::to_bfloat16(to_float(upper)).bits == (upper_is_nan ? bits | 0x40 : bits));
    REQUIRE(strata::to_float16(double{to_float(half)}).bits == (half_is_nan ? bits | 0x200 : bits));
    REQUIRE(strata::to_bfloat16(double{to_float(upper)}).bits == (upper_is_nan ? bits | 0x40 : bits));
  }
  CHECK(std::isinf(to_float(strata::float16{0x7c00})));
  CHECK(std::isinf(to_float(strata::bfloat16{0xff80})));
}

TEST_CASE("small floats: every pattern of 8 bits is the number that it should be") {
  for (unsigned bits = 0; bits < 256; ++bits) {
    const float e4m3 = to_float(strata::float8_e4m3{static_cast<std::uint8_t>(bits)});
    const float e5m2 = to_float(strata::float8_e5m2{static_cast<std::uint8_t>(bits)});
    CAPTURE(bits, e4m3, e5m2);
    // In e4m3 only the last pattern of each sign is NaN; e5m2 follows IEEE 754.
    CHECK(((bits & 0x7f) == 0x7f ? std::isnan(e4m3) : same(e4m3, by_definition(bits, 4, 3))));
    if ((bits & 0x7c) != 0x7c) CHECK(same(e5m2, by_definition(bits, 5, 2)));
    CHECK(std::isnan(e5m2) == ((bits & 0x7f) > 0x7c));
    CHECK(std::isinf(e5m2) == ((bits & 0x7f) == 0x7c));
    CHECK(std::signbit(e4m3) == (bits >= 128));
    CHECK(std::signbit(e5m2) == (bits >= 128));
  }
  CHECK(to_float(strata::float8_e4m3{0x7e}) == 448);
  CHECK(to_float(strata::float8_e5m2{0x7b}) == 57344);
}

TEST_CASE("small floats: rounding is to nearest, ties to even") {
  std::uint32_t state = 1;
  for (int round = 0; round < 200000; ++round) {
    state = state * 1664525 + 1013904223;
    // Any sign and fraction; exponents at which a half has all, few or no bits.
    const float x = std::bit_cast<float>((state & 0x807fffffu) | (95 + state % 47) << 23);
    REQUIRE(is_nearest(strata::to_float16(x), x));
    REQUIRE(is_nearest(strata::to_bfloat16(x), x));
    const double wide = static_cast<double>(x) * (1 + 0x1p-40);
    REQUIRE(is_nearest(strata::to_float16(wide), wide));
    REQUIRE(is_nearest(strata::to_bfloat16(wide), wide));
  }
  // Halfway between 1 and the next number, and beside it; only a double shows the last cases.
  CHECK(strata::to_float16(1 + 0x1p-11f).bits == 0x3c00);
  CHECK(strata::to_float16(1 + 0x3p-11f).bits == 0x3c02);
  CHECK(strata::to_float16(1 + 0x1p-11 + 0x1p-40).bits == 0x3c01);
  CHECK(strata::to_float16(1 + 0x3p-11 - 0x1p-40).bits == 0x3c01);
  CHECK(strata::to_bfloat16(1 + 0x1p-8f).bits == 0x3f80);
  CHECK(strata::to_bfloat16(1 + 0x1p-8 + 0x1p-40).bits == 0x3f81);
}

TEST_CASE("small floats: the ends of the range") {
  using strata::to_bfloat16, strata::to_float16;
  CHECK(to_float16(65504.f).bits == 0x7bff);
  CHECK(to_float16(65519.99f).bits == 0x7bff);
  CHECK(to_float16(-65520.f).bits == 0xfc00);
  CHECK(to_float16(70000.f).bits == 0x7c00);
  CHECK(to_float16(1e30f).bits == 0x7c00);
  CHECK(to_float16(-1e300).bits == 0xfc00);
  CHECK(to_float16(std::numeric_limits<float>::infinity()).bits == 0x7c00);
  CHECK(to_float16(0x1p-24f).bits == 1);
  CHECK(to_float16(0x1p-25f).bits == 0);
  CHECK(to_float16(0x1p-25 * (1 + 0x1p-40)).bits == 1);
  CHECK(to_float16(-1e-30f).bits == 0x8000);
  CHECK(to_float16(-1e-300).bits == 0x8000);
  CHECK(to_bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(to_bfloat16(0x1.fep127f).bits == 0x7f7f);
  CHECK(to_bfloat16(1e300).bits == 0x7f80);
  CHECK(to_bfloat16(-1e-300).bits == 0x8000);
  STATIC_REQUIRE(to_float(to_float16(0.5f)) == 0.5f);
}
