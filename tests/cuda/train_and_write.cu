// Every kernel on a device: models are trained and generate, and attention meets heads of every width. Without a device
// this still tests that nvcc compiles all operations and that the program links with the toolkit's libraries.
#include <cstdio>

#include "cuda/every_kernel.hpp"

int main() {
  try {
    kernels::execute_every_kernel(3);
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
  // compute-sanitizer calls memory that is still allocated here a leak.
  return cudaDeviceReset() == cudaSuccess ? 0 : 1;
}
