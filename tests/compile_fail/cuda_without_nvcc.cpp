// expect: strata: strata/cuda.hpp holds device code: compile this file as CUDA, with nvcc
// errors: 2
#include <strata/cuda.hpp>
