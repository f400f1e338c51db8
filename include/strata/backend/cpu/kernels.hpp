// Compiles the folder kernels/ once for each instruction set, each into its own namespace. So a program built for any
// processor uses the best set that it finds.
// Source: the scheme of Google Highway's foreach_target.h.
#pragma once

// All includes of the kernels come before the regions below: code in a region may use instructions that the processor
// lacks.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include <strata/backend/cpu/context.hpp>
#include <strata/core/random.hpp>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace strata::inline STRATA_ABI {

/// A matrix whose element (i,j) is at data + i row + j column; one of the two distances is 1.
struct strided {
  const float* data;
  index_type row, column;
  strided from(index_type i, index_type j) const { return {data + i * row + j * column, row, column}; }
};

}  // namespace strata

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
// Vectors are only passed between always inlined functions, so no calling convention matters.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define STRATA_INSTRUCTIONS baseline
#define STRATA_VECTOR_BYTES STRATA_BASELINE_VECTOR_BYTES
#include <strata/backend/cpu/kernels/all.hpp>
#undef STRATA_INSTRUCTIONS
#undef STRATA_VECTOR_BYTES

#if STRATA_COMPILES_AVX2
STRATA_TARGET_BEGIN("avx2,fma")
#define STRATA_INSTRUCTIONS avx2
#define STRATA_VECTOR_BYTES 32
#include <strata/backend/cpu/kernels/all.hpp>
#undef STRATA_INSTRUCTIONS
#undef STRATA_VECTOR_BYTES
STRATA_TARGET_END
#endif

#if STRATA_COMPILES_AVX512
STRATA_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define STRATA_INSTRUCTIONS avx512
#define STRATA_VECTOR_BYTES 64
#include <strata/backend/cpu/kernels/all.hpp>
#undef STRATA_INSTRUCTIONS
#undef STRATA_VECTOR_BYTES
STRATA_TARGET_END
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
