// dropout.
// Shapes: [N] in, [N] out; x and y may be the same.
// Source: backend/backend.hpp.
#pragma once

#include <strata/backend/cuda/loops.hpp>
#include <strata/backend/cuda/random.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The four elements of one random block: they lie 16 apart.
struct dropout_block {
  std::uint64_t seed, stream;
  std::uint32_t threshold;
  float scale;
  const float* x;
  float* y;
  index_type count;
  bool add;
  __device__ __forceinline__ void operator()(index_type block) const {
    const random_words drawn = draw_words(seed, stream, static_cast<std::uint64_t>(block));
    STRATA_UNROLL
    for (int part = 0; part < 4; ++part) {
      const index_type n = block / 16 * 64 + part * 16 + block % 16;
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
