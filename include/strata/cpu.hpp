// Include this for the cpu backend: strata::cpu.
// Source: docs/design.md.
#pragma once

#include <strata/core/platform.hpp>

#if !defined(__OPTIMIZE__) && !defined(STRATA_NO_OPTIMIZE_WARNING)
#pragma message( \
    "strata: compiled without optimisation, models run many times slower; STRATA_NO_OPTIMIZE_WARNING hides this")
#endif

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/matrix_products.hpp>
#include <strata/backend/cpu/memory.hpp>
#include <strata/backend/cpu/operations.hpp>
#include <strata/backend/cpu/sampling.hpp>
#include <strata/strata.hpp>
