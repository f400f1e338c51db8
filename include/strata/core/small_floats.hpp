// Floating-point numbers of 16 and 8 bits: their storage and their conversions.
// Source: bfloat16 as in arXiv 1905.12322; float16 is IEEE 754 binary16; both kinds of 8 bits as in arXiv 2209.05433.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// The upper half of a float.
struct bfloat16 {
  std::uint16_t bits = 0;
};
/// 5 bits of exponent, 10 of fraction.
struct float16 {
  std::uint16_t bits = 0;
};
/// 5 bits of exponent, 2 of fraction: the upper half of a float16.
struct float8_e5m2 {
  std::uint8_t bits = 0;
};
/// 4 bits of exponent, 3 of fraction. It has no infinity, and one NaN of each sign.
struct float8_e4m3 {
  std::uint8_t bits = 0;
};

/// Whether `number` as a float is neither infinite nor, unless it is 0, 0.
constexpr bool fits_float(double number) {
  constexpr double most = std::numeric_limits<float>::max();
  return !(number > most || number < -most) && (number == 0 || static_cast<float>(number) != 0);
}

constexpr float to_float(bfloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

namespace detail {

/// `condition ? yes : no` without a branch, so that compilers vectorise loops. Signed, because vector units compare
/// signed integers best.
constexpr std::int32_t select(bool condition, std::int32_t yes, std::int32_t no) {
  const std::int32_t mask = -static_cast<std::int32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

}  // namespace detail

/// Exact for every pattern, the NaN payloads included.
constexpr float to_float(float16 x) {
  const std::int32_t magnitude = (x.bits & 0x7fff) << 13;
  // Exponents start at -14 instead of -126; infinity and NaN keep the largest exponent.
  const std::int32_t normal = magnitude + detail::select(magnitude < 31 << 23, 112 << 23, 224 << 23);
  // A subnormal number has no leading one: add one, then subtract it.
  const float subnormal = std::bit_cast<float>(magnitude + (113 << 23)) - 0x1p-14f;
  const std::int32_t own = detail::select(magnitude < 1 << 23, std::bit_cast<std::int32_t>(subnormal), normal);
  return std::bit_cast<float>(static_cast<std::uint32_t>(own) | (x.bits & 0x8000u) << 16);
}
constexpr float to_float(float8_e5m2 x) { return to_float(float16{static_cast<std::uint16_t>(x.bits << 8)}); }
constexpr float to_float(float8_e4m3 x) {
  // As a float16 the exponent is 8 too small.
  const float number = 256 * to_float(float16{static_cast<std::uint16_t>((x.bits & 0x80) << 8 | (x.bits & 0x7f) << 7)});
  const std::int32_t not_a_number = detail::select((x.bits & 0x7f) == 0x7f, 0x7fc00000, 0);
  return std::bit_cast<float>(std::bit_cast<std::int32_t>(number) | not_a_number);
}

/// Rounds to nearest, ties to even; NaN stays NaN.
constexpr bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/// Rounds to nearest, ties to even; NaN stays NaN.
constexpr float16 to_float16(float x) {
  constexpr std::int32_t smallest_normal = 113 << 23, beyond = 143 << 23, infinity = 255 << 23;  // 2^-14 and 2^16
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto all = static_cast<std::int32_t>(bits & 0x7fffffffu);
  const std::int32_t magnitude = detail::select(all < beyond, all, beyond), own = magnitude & infinity;
  const std::int32_t exponent = detail::select(own > smallest_normal, own, smallest_normal);
  // The last bit of this power of two equals the last bit of the result, so the sum rounds correctly.
  const std::int32_t power = exponent + (13 << 23);
  const float sum = std::bit_cast<float>(magnitude) + std::bit_cast<float>(power);
  const std::int32_t number = ((exponent - smallest_normal) >> 13) + (std::bit_cast<std::int32_t>(sum) - power);
  const std::int32_t not_a_number = 0x7e00 | (all >> 13 & 0x1ff);
  const auto result = static_cast<std::uint32_t>(detail::select(all > infinity, not_a_number, number));
  return {static_cast<std::uint16_t>(result | (bits >> 16 & 0x8000u))};
}

/// A float that rounds to the same 16-bit number as `x`: `x` rounded towards zero; if inexact, the last bit is set.
constexpr float rounded_to_odd(double x) {
  const float near = static_cast<float>(x);
  auto bits = std::bit_cast<std::uint32_t>(near);
  const double magnitude = x < 0 ? -x : x, own = near < 0 ? -near : near;
  if (own > magnitude) --bits;
  if (own != magnitude && x == x) bits |= 1;
  return std::bit_cast<float>(bits);
}
constexpr bfloat16 to_bfloat16(double x) { return to_bfloat16(rounded_to_odd(x)); }
constexpr float16 to_float16(double x) { return to_float16(rounded_to_odd(x)); }

}  // namespace strata
