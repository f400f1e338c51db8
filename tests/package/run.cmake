# Installs strata or points to its source (${way}), then configures, builds and runs the consumer in the folder ${work}.
# Builds with README's CMake block too, and configures it with old policies (before IN_LIST), which CMake 4 lacks. Then
# configures the consumer with strata::cuda, which exists where the CUDA toolkit is (${cuda}); elsewhere a sentence says
# that it is missing.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${work}")

if(way STREQUAL "find_package")
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${strata_build}" --prefix "${work}/installed"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  set(options "-DCMAKE_PREFIX_PATH=${work}/installed")
  set(with_cuda -Dcomponents=cuda)
else()
  set(options "-Dstrata_source=${strata_source}" "-DSTRATA_ONEDNN=${onednn}")
  set(with_cuda -DSTRATA_CUDA=ON)
endif()

set(configure "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -G "${generator}"
  "-DCMAKE_CXX_COMPILER=${compiler}" -DCMAKE_BUILD_TYPE=Debug "-Dexpect_onednn=${onednn}"
  "-Dnlohmann_json_DIR=${nlohmann_json_DIR}" ${options})
execute_process(COMMAND ${configure} -B "${work}/build" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${work}/build" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${work}/build/consumer" COMMAND_ERROR_IS_FATAL ANY)

file(READ "${strata_source}/README.md" block)
if(NOT block MATCHES "```cmake\n(cmake_minimum_required[^\n]*)([^`]*find_package\\(strata REQUIRED\\)[^`]*)```")
  message(FATAL_ERROR "README.md has no CMake block that begins with cmake_minimum_required and finds strata")
endif()
set(first_lines "${CMAKE_MATCH_1}")
if(CMAKE_VERSION VERSION_LESS 4)
  list(PREPEND first_lines "cmake_minimum_required(VERSION 3.2)")
endif()
set(block "${CMAKE_MATCH_2}")
set(readme "${work}/readme")
file(WRITE "${readme}/main.cpp" "#include <strata/strata.hpp>\nint main() {}\n")
if(way STREQUAL "add_subdirectory")
  string(REPLACE "find_package(strata REQUIRED)" "add_subdirectory(strata)" block "${block}")
  file(CREATE_LINK "${strata_source}" "${readme}/strata" SYMBOLIC)
endif()
foreach(first IN LISTS first_lines)
  file(WRITE "${readme}/CMakeLists.txt" "${first}${block}")
  execute_process(COMMAND "${CMAKE_COMMAND}" -S "${readme}" -B "${readme}/build" --fresh -G "${generator}"
    "-DCMAKE_CXX_COMPILER=${compiler}" "-Dnlohmann_json_DIR=${nlohmann_json_DIR}" ${options} COMMAND_ERROR_IS_FATAL ANY)
endforeach()
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${readme}/build" COMMAND_ERROR_IS_FATAL ANY)

if(cuda)
  execute_process(COMMAND ${configure} ${with_cuda} -Dexpect_cuda=ON -B "${work}/with_cuda" COMMAND_ERROR_IS_FATAL ANY)
endif()
execute_process(COMMAND ${configure} ${with_cuda} -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON -B "${work}/without_cuda"
  ERROR_VARIABLE said RESULT_VARIABLE result)
string(REGEX REPLACE "[ \n]+" " " said "${said}")
if(result EQUAL 0 OR NOT said MATCHES "needs the CUDA toolkit, 13 or later, with cuBLASLt")
  message(FATAL_ERROR "without the CUDA toolkit, strata::cuda was asked for, with result ${result}: ${said}")
endif()
