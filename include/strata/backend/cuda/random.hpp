// The random numbers of core/random.hpp, drawn on the device.
// Shapes: one number, or one block of four words, per call.
// Source: core/random.hpp.
#pragma once

#include <strata/backend/cuda/device.hpp>
#include <strata/core/random.hpp>

namespace strata::inline STRATA_ABI::device {

struct random_words {
  std::uint32_t word[4];
};

/// random_source(seed).words(stream, counter).
__device__ __forceinline__ random_words draw_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  constexpr std::uint64_t factor0 = philox_constants::factors[0], factor1 = philox_constants::factors[1];
  constexpr std::uint32_t step0 = philox_constants::steps[0], step1 = philox_constants::steps[1];
  constexpr int rounds = philox_constants::rounds;
  random_words words = {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                        static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  STRATA_UNROLL
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = factor0 * words.word[0], product1 = factor1 * words.word[2];
    words = {static_cast<std::uint32_t>(product1 >> 32) ^ words.word[1] ^ key0, static_cast<std::uint32_t>(product1),
             static_cast<std::uint32_t>(product0 >> 32) ^ words.word[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += step0;
    key1 += step1;
  }
  return words;
}

/// random_source(seed).gumbel(stream, counter), up to the last bits of the logarithms.
__device__ __forceinline__ double draw_gumbel(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  const random_words words = draw_words(seed, stream, counter);
  const std::uint64_t bits = (std::uint64_t{words.word[1]} << 32) | words.word[0];
  return -log(-log((static_cast<double>(bits >> 12) + 0.5) * 0x1p-52));
}

}  // namespace strata::device
