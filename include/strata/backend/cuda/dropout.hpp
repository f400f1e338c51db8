// dropout.
// Shapes: [N] in, [N] out; x and y may be the same.
// Source: backend/backend.hpp; the generator is that of core/random.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>
#include <strata/core/random.hpp>

namespace strata {
namespace device {

struct random_words {
  std::uint32_t word[4];
};

/// One block of four words of Philox 4x32-10.
__device__ __forceinline__ random_words philox_words(random_words counter, std::uint64_t seed) {
  constexpr std::uint64_t factor0 = philox_constants::factors[0], factor1 = philox_constants::factors[1];
  constexpr std::uint32_t step0 = philox_constants::steps[0], step1 = philox_constants::steps[1];
  constexpr int rounds = philox_constants::rounds;
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  STRATA_UNROLL
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = factor0 * counter.word[0], product1 = factor1 * counter.word[2];
    counter = {
        static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(product1),
        static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += step0;
    key1 += step1;
  }
  return counter;
}

/// The four elements of one random block: they lie 16 apart.
struct dropout_block {
  std::uint64_t seed, stream;
  std::uint32_t threshold;
  float scale;
  const float* x;
  float* y;
  index count;
  bool add;
  __device__ __forceinline__ void operator()(index block) const {
    const std::uint64_t number = static_cast<std::uint64_t>(block);
    const random_words drawn =
        philox_words({static_cast<std::uint32_t>(number), static_cast<std::uint32_t>(number >> 32),
                      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
                     seed);
    STRATA_UNROLL
    for (int part = 0; part < 4; ++part) {
      const index n = block / 16 * 64 + part * 16 + block % 16;
      if (n >= count) continue;
      const float kept = drawn.word[part] >= threshold ? scale * x[n] : 0.f;
      y[n] = add ? y[n] + kept : kept;
    }
  }
};

}  // namespace device

inline void dropout(cuda& backend, const dropout_mask& mask, input<float, 1> x, output<float, 1> y, update mode) {
  device::for_each_element(
      backend, (y.size() + 63) / 64 * 16,
      device::dropout_block{mask.seed, mask.stream, mask.threshold(), static_cast<float>(mask.scale()), x.data, y.data,
                            y.size(), mode == update::add});
}

}  // namespace strata
