# strata::cuda: for targets whose .cu files include strata/cuda.hpp. Needs strata::strata; defined if the CUDA toolkit
# is found.
find_package(CUDAToolkit 13 QUIET)
if(CUDAToolkit_FOUND AND TARGET CUDA::cublasLt AND NOT TARGET strata::cuda)
  add_library(strata::cuda INTERFACE IMPORTED GLOBAL)
  target_link_libraries(strata::cuda INTERFACE strata::strata CUDA::cublasLt)
  # CMake 3.25 cannot name C++20 for CUDA.
  target_compile_options(strata::cuda INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
endif()
