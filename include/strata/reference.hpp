// Include this for the reference backend: strata::reference<float> and strata::reference<double>.
// Source: docs/model.md.
#pragma once

// clang-format off
#include <strata/core/platform.hpp>
// clang-format on

#include <strata/backend/reference/activations.hpp>
#include <strata/backend/reference/attention.hpp>
#include <strata/backend/reference/boundaries.hpp>
#include <strata/backend/reference/context.hpp>
#include <strata/backend/reference/cross_attention.hpp>
#include <strata/backend/reference/dropout.hpp>
#include <strata/backend/reference/embedding.hpp>
#include <strata/backend/reference/losses.hpp>
#include <strata/backend/reference/matrix_products.hpp>
#include <strata/backend/reference/memory.hpp>
#include <strata/backend/reference/muon.hpp>
#include <strata/backend/reference/norms.hpp>
#include <strata/backend/reference/optimizer.hpp>
#include <strata/backend/reference/resample.hpp>
#include <strata/backend/reference/routing.hpp>
#include <strata/backend/reference/sampling.hpp>
#include <strata/backend/reference/token_shift.hpp>
#include <strata/strata.hpp>
