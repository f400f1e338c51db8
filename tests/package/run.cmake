# Installs strata or points to its source (${way}), then configures, builds and runs the consumer in the folder ${work}.
file(REMOVE_RECURSE "${work}")

if(way STREQUAL "find_package")
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${strata_build}" --prefix "${work}/installed"
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  set(options "-DCMAKE_PREFIX_PATH=${work}/installed")
else()
  set(options "-Dstrata_source=${strata_source}" "-DSTRATA_ONEDNN=${onednn}")
endif()

execute_process(COMMAND "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_LIST_DIR}/consumer" -B "${work}/build" -G "${generator}"
  "-DCMAKE_CXX_COMPILER=${compiler}" -DCMAKE_BUILD_TYPE=Debug "-Dexpect_onednn=${onednn}"
  "-DEigen3_DIR=${Eigen3_DIR}" "-Dnlohmann_json_DIR=${nlohmann_json_DIR}" ${options}
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${CMAKE_COMMAND}" --build "${work}/build" COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND "${work}/build/consumer" COMMAND_ERROR_IS_FATAL ANY)
