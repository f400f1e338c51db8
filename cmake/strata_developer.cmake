# strata_developer: warnings and target processor of our own programs. Never installed.
add_library(strata_developer INTERFACE)
set(cxx $<COMPILE_LANGUAGE:CXX>)
set(cuda $<COMPILE_LANGUAGE:CUDA>)
target_compile_options(strata_developer INTERFACE
  "$<${cuda}:-Xcompiler=-Wall,-Wextra>"
  "$<${cxx}:-Wall;-Wextra;-Wpedantic;-Wnon-virtual-dtor;-Woverloaded-virtual;-Wold-style-cast;-Wcast-qual;-Wextra-semi;-Wvla>"
  # A constructor's parameter may have the name of the member that it sets; only g++'s plain -Wshadow warns. Where
  # sources are compiled together, a local name may equal another file's global name; only clang's -Wshadow warns.
  $<${cxx}:$<IF:$<CXX_COMPILER_ID:GNU>,-Wshadow=local,$<$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wshadow>>>)
if(STRATA_WERROR)
  target_compile_options(strata_developer INTERFACE $<${cxx}:-Werror> $<${cuda}:-Werror=all-warnings>)
endif()

# Our own programs may be built without optimization.
target_compile_definitions(strata_developer INTERFACE STRATA_NO_OPTIMIZE_WARNING)

# The property STRATA_PORTABLE still compiles a program for any processor.
if(STRATA_NATIVE)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-march=native STRATA_HAS_MARCH_NATIVE)
  if(STRATA_HAS_MARCH_NATIVE)
    set(native $<AND:${cxx},$<NOT:$<BOOL:$<TARGET_PROPERTY:STRATA_PORTABLE>>>>)
    target_compile_options(strata_developer INTERFACE $<${native}:-march=native>)
    target_compile_definitions(strata_developer INTERFACE $<${native}:STRATA_RUNTIME_DISPATCH=0>)
  endif()
endif()

# strata_enable_cuda(): lets this folder and those below compile .cu files with nvcc. Without it CMAKE_CUDA_COMPILER is
# empty.
macro(strata_enable_cuda)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    # CMake's default is older than strata needs. The last one is also PTX, for later devices.
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)
    endif()
    enable_language(CUDA)
  endif()
endmacro()
