// The door to the cpu backend: strata::cpu.
// Shapes: backend/backend.hpp.
// Source: docs/design.md.
#pragma once

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/memory.hpp>
#include <strata/backend/cpu/operations.hpp>
#include <strata/backend/cpu/products.hpp>
#include <strata/backend/cpu/sampling.hpp>
#include <strata/strata.hpp>
