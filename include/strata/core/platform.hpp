// Everything that differs between compilers and processors, and the only place that defines macros.
// Shapes: none.
// Source: GCC and Clang manuals, "Using Vector Instructions through Built-in Functions".
#pragma once

#include <cassert>

#define STRATA_ASSERT(condition) assert(condition)

#if defined(__clang__)
#define STRATA_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define STRATA_UNROLL _Pragma("GCC unroll 16")
#else
#define STRATA_UNROLL
#endif

#if defined(__GNUC__)
#define STRATA_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define STRATA_ALWAYS_INLINE inline
#endif

// The widest vector this translation unit may use, in bytes.
#if defined(__AVX512F__)
#define STRATA_VECTOR_BYTES 64
#elif defined(__AVX__)
#define STRATA_VECTOR_BYTES 32
#else
#define STRATA_VECTOR_BYTES 16
#endif

// Tells the processor that this is a spin loop.
#if defined(__x86_64__) || defined(__i386__)
#define STRATA_PAUSE() __builtin_ia32_pause()
#else
#define STRATA_PAUSE() static_cast<void>(0)
#endif
