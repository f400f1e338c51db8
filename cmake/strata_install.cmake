# `cmake --install` writes the headers and the package that find_package(strata) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(folder "${CMAKE_INSTALL_DATADIR}/cmake/strata")

install(DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/include/strata" DESTINATION include FILES_MATCHING PATTERN "*.hpp")
install(TARGETS strata EXPORT strata)
install(EXPORT strata NAMESPACE strata:: FILE strataTargets.cmake DESTINATION "${folder}")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/strataConfig.cmake.in" "${CMAKE_CURRENT_BINARY_DIR}/strataConfig.cmake"
  INSTALL_DESTINATION "${folder}")
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/strataConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/strataConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/strataConfigVersion.cmake"
  "${CMAKE_CURRENT_LIST_DIR}/Findstrata_onednn.cmake" "${CMAKE_CURRENT_LIST_DIR}/strata_cuda.cmake"
  DESTINATION "${folder}")
