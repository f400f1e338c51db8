// Eigen's Core module, without the false alarms of g++ 12 about its AVX-512 intrinsics (GCC bug 105593), and with its
// products made faster under g++.
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

// g++ folds the load of a left operand into each of the multiply-adds that use it, and the loads then decide the speed of
// Eigen's inner loop. Naming the register stops that.
#if defined(__GNUC__) && !defined(__clang__) && !EIGEN_VERSION_AT_LEAST(3, 4, 90) && \
    (defined(EIGEN_VECTORIZE_AVX512) || (defined(EIGEN_VECTORIZE_AVX) && defined(EIGEN_VECTORIZE_FMA)))
namespace Eigen::internal {
#if defined(EIGEN_VECTORIZE_AVX512)
using strata_widest_packet = Packet16f;
#else
using strata_widest_packet = Packet8f;
#endif
template <>
template <>
EIGEN_STRONG_INLINE void gebp_traits<float, float, false, false, Architecture::Target, GEBPPacketFull>::loadLhs(
    const float* from, strata_widest_packet& to) const {
  to = pload<strata_widest_packet>(from);
  asm("" : "+v"(to));
}
}  // namespace Eigen::internal
#endif
