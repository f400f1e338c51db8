// Everything that differs between compilers and processors, and the only place that defines macros.
// Source: GCC and Clang manuals, "Using Vector Instructions through Built-in Functions".
#pragma once

#if __cplusplus < 202002L
#error "strata: this library needs C++20: compile with -std=c++20 or later"
#endif
#if __SIZEOF_POINTER__ < 8
#error "strata: this library needs a 64-bit target: compile without -m32"
#endif
#if defined(__FAST_MATH__)
#error "strata: -ffast-math makes attention wrong and hides NaN: compile without it, and with -O3 instead of -Ofast"
#elif __FINITE_MATH_ONLY__
#error "strata: -ffinite-math-only makes attention wrong and hides NaN: compile without it"
#elif defined(__ASSOCIATIVE_MATH__)
#error "strata: -fassociative-math, a part of -funsafe-math-optimizations, makes exponentials wrong: compile without it"
#endif

#include <cassert>
#include <version>

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

// The widest vector, in bytes, that needs no check of the processor.
#if defined(__AVX512F__)
#define STRATA_BASELINE_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define STRATA_BASELINE_VECTOR_BYTES 32
#else
#define STRATA_BASELINE_VECTOR_BYTES 16
#endif

// Whether the cpu kernels are also compiled for wider vectors; they run if the processor has them. Define it as 0 if a
// program is built for the machine that runs it.
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

// STRATA_ABI is the inline namespace of everything but strata::error. Its name lists the compile flags that change the
// code or the classes of this library. A program may have files with different flags, and of functions with equal names
// the linker keeps one. No macro shows -ffp-contract, -mtune or, under g++, -O1 instead of -O2. If files differ in these,
// the linker decides which sums FMA rounds only once. Functions of the standard library are shared all the same, so
// _GLIBCXX_ASSERTIONS, which only adds checks to them, has no letter. The letters:
//   g, c        g++, clang++                    x, y, z  kernels for AVX2, for AVX-512, for both as well
//   16, 32, 64  bytes of a vector               d        oneDNN
//   a           AVX                             o        optimized
//   f           FMA                             n        no assertions
//   j           JSON_DIAGNOSTICS                s        another standard library, or its debug mode
//   p           JSON_DIAGNOSTIC_POSITIONS       w        _GLIBCXX_USE_CXX11_ABI=0
#if defined(__clang__)
#define STRATA_ABI_COMPILER c
#else
#define STRATA_ABI_COMPILER g
#endif
#if defined(__AVX__)
#define STRATA_ABI_AVX a
#else
#define STRATA_ABI_AVX
#endif
#if defined(__FMA__) || defined(__FMA4__) || defined(__FP_FAST_FMAF)
#define STRATA_ABI_FMA f
#else
#define STRATA_ABI_FMA
#endif
#if STRATA_COMPILES_AVX2 && STRATA_COMPILES_AVX512
#define STRATA_ABI_KERNELS z
#elif STRATA_COMPILES_AVX512
#define STRATA_ABI_KERNELS y
#elif STRATA_COMPILES_AVX2
#define STRATA_ABI_KERNELS x
#else
#define STRATA_ABI_KERNELS
#endif
#if STRATA_HAS_ONEDNN
#define STRATA_ABI_ONEDNN d
#else
#define STRATA_ABI_ONEDNN
#endif
#if defined(__OPTIMIZE__)
#define STRATA_ABI_OPTIMIZED o
#else
#define STRATA_ABI_OPTIMIZED
#endif
#if defined(NDEBUG)
#define STRATA_ABI_ASSERTIONS n
#else
#define STRATA_ABI_ASSERTIONS
#endif
#if defined(_GLIBCXX_DEBUG) || !defined(__GLIBCXX__)
#define STRATA_ABI_LIBRARY s
#else
#define STRATA_ABI_LIBRARY
#endif
// nlohmann's objects are larger with these, and so is a trainer.
#if JSON_DIAGNOSTICS
#define STRATA_ABI_JSON_PARENTS j
#else
#define STRATA_ABI_JSON_PARENTS
#endif
#if JSON_DIAGNOSTIC_POSITIONS
#define STRATA_ABI_JSON_POSITIONS p
#else
#define STRATA_ABI_JSON_POSITIONS
#endif
// Strings are one pointer without the newer ABI.
#if defined(__GLIBCXX__) && !_GLIBCXX_USE_CXX11_ABI
#define STRATA_ABI_STRINGS w
#else
#define STRATA_ABI_STRINGS
#endif
#define STRATA_JOINED(a, b, c, d, e, f, g, h, i, j, k, l) a##b##c##d##e##f##g##h##i##j##k##l
#define STRATA_JOIN(...) STRATA_JOINED(__VA_ARGS__)
#define STRATA_ABI                                                                                                   \
  STRATA_JOIN(STRATA_ABI_COMPILER, STRATA_BASELINE_VECTOR_BYTES, STRATA_ABI_AVX, STRATA_ABI_FMA, STRATA_ABI_KERNELS, \
              STRATA_ABI_ONEDNN, STRATA_ABI_OPTIMIZED, STRATA_ABI_ASSERTIONS, STRATA_ABI_LIBRARY,                    \
              STRATA_ABI_JSON_PARENTS, STRATA_ABI_JSON_POSITIONS, STRATA_ABI_STRINGS)

// Code between these two macros is compiled for the given instructions.
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
