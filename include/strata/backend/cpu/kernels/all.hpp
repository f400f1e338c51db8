// The kernels, in the order in which they build on each other. backend/cpu/kernels.hpp includes this file once for each
// instruction set, so the files of this folder have no include guard and include nothing.
#if !defined(STRATA_INSTRUCTIONS)
#error "strata: include <strata/cpu.hpp>; the files of backend/cpu/kernels/ do not compile alone"
#endif

// clang-format off
#include <strata/backend/cpu/kernels/vector.hpp>
#include <strata/backend/cpu/kernels/memory.hpp>
#include <strata/backend/cpu/kernels/embedding.hpp>
#include <strata/backend/cpu/kernels/tiles.hpp>
#include <strata/backend/cpu/kernels/matrix_products.hpp>
#include <strata/backend/cpu/kernels/activations.hpp>
#include <strata/backend/cpu/kernels/dropout.hpp>
#include <strata/backend/cpu/kernels/norms.hpp>
#include <strata/backend/cpu/kernels/token_shift.hpp>
#include <strata/backend/cpu/kernels/attention.hpp>
#include <strata/backend/cpu/kernels/resample.hpp>
#include <strata/backend/cpu/kernels/cross_attention.hpp>
#include <strata/backend/cpu/kernels/routing.hpp>
#include <strata/backend/cpu/kernels/boundaries.hpp>
#include <strata/backend/cpu/kernels/losses.hpp>
#include <strata/backend/cpu/kernels/optimizer.hpp>
#include <strata/backend/cpu/kernels/muon.hpp>
// clang-format on
