// expect: strata: strata/cuda.hpp holds device code: compile this file as CUDA, with nvcc
#include <strata/cuda.hpp>
