// bfloat16 matrix products of a warp on tensor cores: instructions for which CUDA C++ has no functions.
// Shapes: d[16,8] += a[16,16] b[16,8]; matrices [8,8] of 16 bits.
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix", "cvt".
#pragma once

#include <strata/backend/cuda/device.hpp>

#if defined(__CUDACC__)
namespace strata::inline STRATA_ABI::device {

/// Both as bfloat16, rounded to nearest, ties to even; `low` in the lower half. NaN stays NaN.
__device__ __forceinline__ unsigned round_to_bfloat16(float low, float high) {
  unsigned both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

/// d[16,8] += a[16,16] b[16,8], in float. Each lane holds a part of each matrix; an unsigned holds two elements of a or
/// b. With g = lane / 4 and t = 2 (lane % 4), the lane has rows g, g, g + 8, g + 8 of d at columns t, t + 1, t, t + 1.
__device__ __forceinline__ void mma_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Loads four matrices [8,8] of 16 bits from shared memory. Lane l passes the address of row l % 8 of matrix l / 8,
/// aligned to 16 bytes. It gets elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of each matrix.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}
/// The same for transposed matrices: lane l gets rows 2 (l % 4) and 2 (l % 4) + 1 of column l / 4.
__device__ __forceinline__ void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}

}  // namespace strata::device
#else
#include "cuda_on_cpu/tensor_cores.hpp"
#endif
