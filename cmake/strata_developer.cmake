# strata_developer: the warnings and the processor that our own programs are compiled with. Never installed.
add_library(strata_developer INTERFACE)
target_compile_options(strata_developer INTERFACE
  -Wall -Wextra -Wpedantic -Wnon-virtual-dtor -Woverloaded-virtual -Wold-style-cast -Wcast-qual -Wextra-semi -Wvla
  # A constructor's parameter may have the name of the member that it sets; only g++'s plain -Wshadow minds that. Where sources
  # are compiled together, a name of one may stand in a function of another, which only clang's minds.
  $<IF:$<CXX_COMPILER_ID:GNU>,-Wshadow=local,$<$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wshadow>>)
if(STRATA_WERROR)
  target_compile_options(strata_developer INTERFACE -Werror)
endif()

# A program with the property STRATA_PORTABLE is compiled for any processor even so.
if(STRATA_NATIVE)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-march=native STRATA_HAS_MARCH_NATIVE)
  if(STRATA_HAS_MARCH_NATIVE)
    set(native $<NOT:$<BOOL:$<TARGET_PROPERTY:STRATA_PORTABLE>>>)
    target_compile_options(strata_developer INTERFACE $<${native}:-march=native>)
    target_compile_definitions(strata_developer INTERFACE $<${native}:STRATA_RUNTIME_DISPATCH=0>)
  endif()
endif()
