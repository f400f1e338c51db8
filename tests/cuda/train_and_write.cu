// Every kernel on a device: models are trained and write, and attention meets heads of every width. That nvcc compiles all
// operations, and that the program links with the toolkit's libraries, is a test where there is no device.
#include <cstdio>

#include "cuda/every_kernel.hpp"

int main() {
  try {
    kernels::execute_every_kernel(3);
  } catch (const strata::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
  }
  // compute-sanitizer calls a leak what is allocated by now.
  return cudaDeviceReset() == cudaSuccess ? 0 : 1;
}
