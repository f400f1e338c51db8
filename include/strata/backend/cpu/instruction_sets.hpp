// Which of the processor's instructions the kernels use.
// Source: GCC and Clang manuals, "__builtin_cpu_supports".
#pragma once

#include <strata/core/error.hpp>
#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// `baseline`: what this translation unit was compiled for; `automatic`: the widest set of the processor.
enum class instruction_set { automatic, baseline, avx2, avx512 };

inline bool processor_has([[maybe_unused]] instruction_set set) {
#if STRATA_COMPILES_AVX2
  if (set == instruction_set::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if STRATA_COMPILES_AVX512
  if (set == instruction_set::avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
  return set == instruction_set::baseline;
}

/// Never `automatic`. Throws if `wanted` is not available.
inline instruction_set chosen_instructions(instruction_set wanted) {
  if (wanted == instruction_set::automatic) {
    if (processor_has(instruction_set::avx512)) return instruction_set::avx512;
    if (processor_has(instruction_set::avx2)) return instruction_set::avx2;
    return instruction_set::baseline;
  }
  require(processor_has(wanted), "this processor, or this build, has no kernels for ",
          wanted == instruction_set::avx512 ? "AVX-512" : "AVX2");
  return wanted;
}

}  // namespace strata
