// Include this for the cuda backend: strata::cuda. For files that nvcc compiles.
// Source: docs/cuda.md.
#pragma once

#include <strata/core/platform.hpp>

#if !defined(__CUDACC__) && !defined(STRATA_CUDA_ON_CPU)
#error "strata: strata/cuda.hpp holds device code: compile this file as CUDA, with nvcc"
#endif

#include <strata/backend/cuda/activations.hpp>
#include <strata/backend/cuda/attention.hpp>
#include <strata/backend/cuda/boundaries.hpp>
#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/cross_attention.hpp>
#include <strata/backend/cuda/dropout.hpp>
#include <strata/backend/cuda/embedding.hpp>
#include <strata/backend/cuda/graph.hpp>
#include <strata/backend/cuda/losses.hpp>
#include <strata/backend/cuda/matrix_products.hpp>
#include <strata/backend/cuda/memory.hpp>
#include <strata/backend/cuda/muon.hpp>
#include <strata/backend/cuda/norms.hpp>
#include <strata/backend/cuda/optimizer.hpp>
#include <strata/backend/cuda/resample.hpp>
#include <strata/backend/cuda/routing.hpp>
#include <strata/backend/cuda/sampling.hpp>
#include <strata/backend/cuda/token_shift.hpp>
#include <strata/strata.hpp>
