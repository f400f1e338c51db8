// The door to the cpu backend: strata::cpu.
// Shapes: backend/backend.hpp.
// Source: docs/design.md.
#pragma once

#include <strata/backend/cpu/activations.hpp>
#include <strata/backend/cpu/attention.hpp>
#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/embedding.hpp>
#include <strata/backend/cpu/losses.hpp>
#include <strata/backend/cpu/memory.hpp>
#include <strata/backend/cpu/norms.hpp>
#include <strata/backend/cpu/optimizer.hpp>
#include <strata/backend/cpu/products.hpp>
#include <strata/backend/cpu/resample.hpp>
#include <strata/strata.hpp>
