// Eigen's Core module, without the false alarms of g++ 12 about its AVX-512 intrinsics (GCC bug 105593).
// Shapes: none.
// Source: Eigen 3.4 and 5.
#pragma once

#include <strata/core/platform.hpp>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
