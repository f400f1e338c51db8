// dropout.
// Shapes: [N] in, [N] out; random words in groups of 64: those of 16 blocks.
// Source: backend/backend.hpp; the generator of core/random.hpp, on vectors.

namespace strata::inline STRATA_ABI::kernels::STRATA_INSTRUCTIONS {

/// A word in the lower half of each lane; the upper half is ignored.
using wide_words = std::uint64_t __attribute__((vector_size(STRATA_VECTOR_BYTES)));
using words = std::uint32_t __attribute__((vector_size(STRATA_VECTOR_BYTES)));

STRATA_ALWAYS_INLINE wide_words product_of_words(wide_words x, std::uint32_t factor) {
  const wide_words factors = factor - wide_words{};
#if defined(__x86_64__) && STRATA_VECTOR_BYTES == 64
  return reinterpret_cast<wide_words>(
      _mm512_maskz_mul_epu32(0xff, reinterpret_cast<__m512i>(x), reinterpret_cast<__m512i>(factors)));
#elif defined(__x86_64__) && STRATA_VECTOR_BYTES == 32
  return reinterpret_cast<wide_words>(
      _mm256_mul_epu32(reinterpret_cast<__m256i>(x), reinterpret_cast<__m256i>(factors)));
#elif defined(__x86_64__)
  return reinterpret_cast<wide_words>(_mm_mul_epu32(reinterpret_cast<__m128i>(x), reinterpret_cast<__m128i>(factors)));
#else
  return (x & 0xffffffffu) * factors;
#endif
}

/// Replaces the block numbers in `counter` by the blocks.
STRATA_ALWAYS_INLINE void philox_of(wide_words (&counter)[4], std::uint64_t seed) {
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  STRATA_UNROLL
  for (int round = 0; round < philox_constants::rounds; ++round) {
    const wide_words product0 = product_of_words(counter[0], philox_constants::factors[0]);
    const wide_words product1 = product_of_words(counter[2], philox_constants::factors[1]);
    counter[0] = (product1 >> 32) ^ counter[1] ^ std::uint64_t{key0};
    counter[2] = (product0 >> 32) ^ counter[3] ^ std::uint64_t{key1};
    counter[1] = product1;
    counter[3] = product0;
    key0 += philox_constants::steps[0];
    key1 += philox_constants::steps[1];
  }
}

/// Group `group` of the random words: 16 first words, 16 second ones, and so on.
STRATA_ALWAYS_INLINE void draw_words(const dropout_mask& mask, index_type group, std::uint32_t (&drawn)[64]) {
  for (int part = 0; part < 16; part += vector::lanes) {
    const std::uint64_t first = static_cast<std::uint64_t>(group) * 16 + static_cast<std::uint64_t>(part);
    wide_words block{};
    for (int lane = 0; lane < vector::lanes / 2; ++lane) block[lane] = first + 2 * static_cast<std::uint64_t>(lane);
    const wide_words high = (first >> 32) - wide_words{}, stream = mask.stream - wide_words{};
    wide_words even[4] = {block, high, stream, stream >> 32}, odd[4] = {block + 1, high, stream, stream >> 32};
    philox_of(even, mask.seed);
    philox_of(odd, mask.seed);
    STRATA_UNROLL
    for (int word = 0; word < 4; ++word) {
      const wide_words both = (even[word] & 0xffffffffu) | (odd[word] << 32);
      std::memcpy(drawn + word * 16 + part, &both, sizeof both);
    }
  }
}

inline void dropout(cpu& backend, const dropout_mask& mask, input<float, 1> x, output<float, 1> y, update mode) {
  constexpr index_type group = 64;
  const float scale = static_cast<float>(mask.scale());
  const std::uint32_t threshold = mask.threshold();
  const bool adds = mode == update::add;
  backend.parallel((y.size() + group - 1) / group, 4 * group, [&](index_type begin, index_type end) {
    for (index_type g = begin; g < end; ++g) {
      std::uint32_t drawn[group];
      draw_words(mask, g, drawn);
      const float* from = x.data + g * group;
      float* to = y.data + g * group;
      vector::for_each(std::min(group, y.size() - g * group), [&](index_type n, auto load, auto store) {
        words decide;
        std::memcpy(&decide, drawn + n, sizeof decide);
        const vector::floats kept = decide >= threshold ? load(from + n) * scale : vector::floats{};
        store(to + n, adds ? load(to + n) + kept : kept);
      });
    }
  });
}

}  // namespace strata::kernels::STRATA_INSTRUCTIONS
