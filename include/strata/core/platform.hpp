// Everything that differs between compilers and processors, and the only place that defines macros.
// Shapes: none.
// Source: GCC and Clang manuals, "Using Vector Instructions through Built-in Functions".
#pragma once

#include <cassert>

// All names of the library are in this inline namespace, so that files compiled with other flags have other symbols.
#define STRATA_ABI abi

#define STRATA_ASSERT(condition) assert(condition)

#if defined(__CUDACC__)
#define STRATA_UNROLL _Pragma("unroll")
#elif defined(__clang__)
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

// The widest vector this translation unit may use without asking the processor, in bytes.
#if defined(__AVX512F__)
#define STRATA_BASELINE_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define STRATA_BASELINE_VECTOR_BYTES 32
#else
#define STRATA_BASELINE_VECTOR_BYTES 16
#endif

// Whether the cpu kernels are also compiled for wider vectors, to be used where the processor has them. Define it as 0
// where a program is built for the machine it runs on anyway.
#ifndef STRATA_RUNTIME_DISPATCH
#if defined(__x86_64__) && defined(__GNUC__)
#define STRATA_RUNTIME_DISPATCH 1
#else
#define STRATA_RUNTIME_DISPATCH 0
#endif
#endif
#if STRATA_RUNTIME_DISPATCH && !(defined(__AVX2__) && defined(__FMA__))
#define STRATA_COMPILES_AVX2 1
#else
#define STRATA_COMPILES_AVX2 0
#endif
#if STRATA_RUNTIME_DISPATCH && !defined(__AVX512F__)
#define STRATA_COMPILES_AVX512 1
#else
#define STRATA_COMPILES_AVX512 0
#endif

// What stands between these two is compiled for the given instructions.
#define STRATA_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define STRATA_TARGET_BEGIN(instructions) \
  STRATA_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define STRATA_TARGET_END STRATA_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#define STRATA_TARGET_BEGIN(instructions) STRATA_PRAGMA(GCC push_options) STRATA_PRAGMA(GCC target(instructions))
#define STRATA_TARGET_END STRATA_PRAGMA(GCC pop_options)
#endif

// Tells the processor that this is a spin loop.
#if defined(__x86_64__) || defined(__i386__)
#define STRATA_PAUSE() __builtin_ia32_pause()
#else
#define STRATA_PAUSE() static_cast<void>(0)
#endif
