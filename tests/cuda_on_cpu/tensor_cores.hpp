// PTX instructions for which CUDA C++ has no functions, under strata's names: products of bfloat16 matrices by a warp,
// and asynchronous copies into shared memory. strata/backend/cuda/tensor_cores.hpp has those for nvcc.
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k16", "ldmatrix", "cvt", "cp.async".
#pragma once

#include "cuda_on_cpu/device.hpp"

namespace strata::inline STRATA_ABI::device {

/// Both rounded to the nearest bfloat16, ties to even, `low` in the lower half: cvt.rn.bf16x2.f32, whose NaN is 0x7fff.
inline unsigned round_to_bfloat16(float low, float high) {
  const auto rounded = [](float x) {
    const auto bits = std::bit_cast<unsigned>(x);
    return x == x ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : 0x7fffu;
  };
  return rounded(low) | rounded(high) << 16;
}

/// d[16,8] += a[16,16] b[16,8], in float: mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32. Each lane holds a part of each
/// matrix, two elements in an unsigned.
inline void mma_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                      cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  struct fragments {
    unsigned a[4], b[2];
  } const own{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  fragments all[cuda_on_cpu::warp_size];
  cuda_on_cpu::gather(0xffffffffu, &own, all, sizeof own, "mma.m16n8k16", at);
  const auto half = [](unsigned pair, int which) {
    return std::bit_cast<float>(which == 0 ? pair << 16 : pair & 0xffff0000u);
  };
  const int row = cuda_on_cpu::current_lane / 4, column = cuda_on_cpu::current_lane % 4 * 2;
  for (int n = 0; n < 4; ++n) {
    const int r = row + n / 2 * 8, c = column + n % 2;
    float sum = 0;
    for (int k = 0; k < 16; ++k)
      sum +=
          half(all[r % 8 * 4 + k % 8 / 2].a[r / 8 + k / 8 * 2], k % 2) * half(all[c * 4 + k % 8 / 2].b[k / 8], k % 2);
    d[n] += sum;
  }
}

/// Four matrices [8,8] of 16 bits: ldmatrix.sync.aligned.m8n8.x4.shared.b16. Each lane gives the address of one of the 32 rows.
inline void ldmatrix_x4(unsigned (&r)[4], const void* row, cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const void* rows[cuda_on_cpu::warp_size];
  cuda_on_cpu::gather(0xffffffffu, &row, rows, sizeof row, "ldmatrix.x4", at);
  for (int n = 0; n < 4; ++n)
    r[n] = static_cast<const unsigned*>(rows[n * 8 + cuda_on_cpu::current_lane / 4])[cuda_on_cpu::current_lane % 4];
}

/// The same of the transposed matrices: ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16.
inline void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row,
                                   cuda_on_cpu::place at = cuda_on_cpu::place::current()) {
  const void* rows[cuda_on_cpu::warp_size];
  cuda_on_cpu::gather(0xffffffffu, &row, rows, sizeof row, "ldmatrix.x4.trans", at);
  const int first = cuda_on_cpu::current_lane % 4 * 2, column = cuda_on_cpu::current_lane / 4;
  const auto element = [&](int n) { return unsigned{static_cast<const std::uint16_t*>(rows[n])[column]}; };
  for (int n = 0; n < 4; ++n) r[n] = element(n * 8 + first) | element(n * 8 + first + 1) << 16;
}

/// 16 bytes, which must be aligned to 16: cp.async.cg.shared.global.
inline void cp_async16(void* shared, const void* global) {
  cuda_on_cpu::start_copy(
      shared, global, [](void* to, const void* from) { *static_cast<uint4*>(to) = *static_cast<const uint4*>(from); });
}
inline void cp_commit() { cuda_on_cpu::commit_copies(); }
/// Waits for all but the newest N groups.
template <int N>
void cp_wait() {
  cuda_on_cpu::wait_for_copies(N);
}

}  // namespace strata::device
