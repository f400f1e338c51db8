# Installs strata or points to its source (${way}), then configures, builds and runs the consumer in the folder ${work}.
# Then configures it with strata::cuda, which exists where the CUDA toolkit is (${cuda}); elsewhere a sentence says that
# it is missing.
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

if(cuda)
  execute_process(COMMAND ${configure} ${with_cuda} -Dexpect_cuda=ON -B "${work}/with_cuda" COMMAND_ERROR_IS_FATAL ANY)
endif()
execute_process(COMMAND ${configure} ${with_cuda} -DCMAKE_DISABLE_FIND_PACKAGE_CUDAToolkit=ON -B "${work}/without_cuda"
  ERROR_VARIABLE said RESULT_VARIABLE result)
string(REGEX REPLACE "[ \n]+" " " said "${said}")
if(result EQUAL 0 OR NOT said MATCHES "needs the CUDA toolkit, 13 or later, with cuBLASLt")
  message(FATAL_ERROR "without the CUDA toolkit, strata::cuda was asked for, with result ${result}: ${said}")
endif()
