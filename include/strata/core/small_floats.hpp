// Floating-point numbers of 16 and 8 bits: how they are stored, and what they are as floats.
// Shapes: none; each type is one number.
// Source: bfloat16 as in arXiv 1905.12322; float16 is IEEE 754 binary16; both kinds of 8 bits as in arXiv 2209.05433.
#pragma once

#include <bit>
#include <cstdint>

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

constexpr float to_float(bfloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

/// Exact for every pattern, the NaN payloads included. Without branches, so that loops over it become vector code.
constexpr float to_float(float16 x) {
  const std::uint32_t magnitude = (x.bits & 0x7fffu) << 13, sign = (x.bits & 0x8000u) << 16;
  // Exponents start at -14 instead of -126; infinity and NaN keep the largest.
  const std::uint32_t normal = magnitude + ((magnitude < 31u << 23 ? 112u : 224u) << 23);
  // A subnormal number has no leading one: give it one, and take it away again.
  const float subnormal = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f;
  const std::uint32_t own = magnitude < 1u << 23 ? std::bit_cast<std::uint32_t>(subnormal) : normal;
  return std::bit_cast<float>(own | sign);
}
constexpr float to_float(float8_e5m2 x) { return to_float(float16{static_cast<std::uint16_t>(x.bits << 8)}); }
constexpr float to_float(float8_e4m3 x) {
  if ((x.bits & 0x7f) == 0x7f) return std::bit_cast<float>(0x7fc00000u | (x.bits & 0x80u) << 24);
  // As a float16 the exponent is 8 too small.
  return 256 * to_float(float16{static_cast<std::uint16_t>((x.bits & 0x80) << 8 | (x.bits & 0x7f) << 7)});
}

/// Rounds to nearest, ties to even; what is not a number stays so.
constexpr bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

/// Rounds to nearest, ties to even; what is not a number stays so. Without branches, as above.
constexpr float16 to_float16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  const std::uint32_t rounded = ((magnitude + 0xfffu + (magnitude >> 13 & 1u)) >> 13) - (112u << 10);
  const std::uint32_t normal = rounded < 0x7c00u ? rounded : 0x7c00u;
  // One half and a multiple of the smallest number: the sum rounds as it should, and its last bits are that multiple.
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - (126u << 23);
  const std::uint32_t not_a_number = 0x7e00u | (magnitude >> 13 & 0x1ffu);
  std::uint32_t own = magnitude < 113u << 23 ? subnormal : normal;
  own = magnitude > 0x7f800000u ? not_a_number : own;
  return {static_cast<std::uint16_t>(own | sign)};
}

/// A float that rounds to the same small number as `x` does: rounded towards zero, its last bit set where something was lost.
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
