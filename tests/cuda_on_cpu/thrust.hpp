// Thrust on the CPU, in the order of a stream. (nvcc's counterpart: algorithm(thrust::cuda::par_nosync.on(stream)).)
#pragma once

#include <thrust/system/cpp/execution_policy.h>

#include "cuda_on_cpu/runtime.hpp"

namespace strata::inline STRATA_ABI::device {

/// Calls algorithm(policy) in the order of the stream. Its result must go to device memory: nobody waits for it.
template <class Algorithm>
void with_thrust(cudaStream_t stream, Algorithm algorithm) {
  static_cast<void>(cuda_on_cpu::enqueue(stream, [algorithm] { algorithm(thrust::cpp::par); }));
}

}  // namespace strata::device
