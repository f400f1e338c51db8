// Thrust between kernels of a stream.
#include "cuda_on_cpu/thrust.hpp"

#include <thrust/functional.h>
#include <thrust/sort.h>
#include <vector>

#include "cuda_on_cpu/device.hpp"
#include "support/catch.hpp"

namespace {

__global__ void count_down(float* y) { y[threadIdx.x] = static_cast<float>(blockDim.x - threadIdx.x); }
__global__ void double_values(float* y) { y[threadIdx.x] *= 2; }

}  // namespace

TEST_CASE("cuda on cpu: a Thrust algorithm comes at its turn in a stream") {
  cudaDeviceReset();
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
  void* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 4 * sizeof(float)) == cudaSuccess);
  float* const y = static_cast<float*>(memory);
  strata::device::start_kernel(count_down, dim3(1), dim3(4), 0, stream, y);
  strata::device::with_thrust(stream, [y](auto policy) { thrust::sort(policy, y, y + 4, thrust::less<float>()); });
  strata::device::start_kernel(double_values, dim3(1), dim3(4), 0, stream, y);
  std::vector<float> host(4, -1.f);
  REQUIRE(cudaMemcpyAsync(host.data(), y, 4 * sizeof(float), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
  CHECK(host == std::vector<float>(4, -1.f));
  REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  CHECK(host == std::vector<float>{2, 4, 6, 8});
  cudaDeviceReset();
}
