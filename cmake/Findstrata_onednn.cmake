# Finds oneDNN as the target strata::onednn. The installed package uses this file too. oneDNN's own configuration file
# is not used: Debian's fails without OpenCL's development files, which libdnnl-dev does not install.
find_path(strata_onednn_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(strata_onednn_LIBRARY dnnl)
mark_as_advanced(strata_onednn_INCLUDE_DIR strata_onednn_LIBRARY)

set(strata_onednn_needs strata_onednn_LIBRARY strata_onednn_INCLUDE_DIR)
set(strata_onednn_libraries ${CMAKE_DL_LIBS})
if(strata_onednn_INCLUDE_DIR)
  set(folder "${strata_onednn_INCLUDE_DIR}/oneapi/dnnl")
  file(STRINGS "${folder}/dnnl_version.h" lines REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" strata_onednn_VERSION "${lines}")
  string(REPLACE ";" "." strata_onednn_VERSION "${strata_onednn_VERSION}")

  # If oneDNN uses TBB's threads, our header calls TBB, so it must be linked. Other thread libraries are found at run
  # time.
  file(STRINGS "${folder}/dnnl_config.h" uses_tbb REGEX "define DNNL_CPU_THREADING_RUNTIME DNNL_RUNTIME_TBB")
  if(uses_tbb)
    find_package(TBB QUIET CONFIG)
    list(APPEND strata_onednn_needs TBB_FOUND)
    list(APPEND strata_onednn_libraries TBB::tbb)
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(strata_onednn
  REQUIRED_VARS ${strata_onednn_needs}
  VERSION_VAR strata_onednn_VERSION)

if(strata_onednn_FOUND AND NOT TARGET strata::onednn)
  add_library(strata::onednn UNKNOWN IMPORTED)
  set_target_properties(strata::onednn PROPERTIES
    IMPORTED_LOCATION "${strata_onednn_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${strata_onednn_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${strata_onednn_libraries}")
endif()
