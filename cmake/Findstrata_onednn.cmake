# Finds oneDNN and the OpenMP runtime that it uses, as the target strata::onednn. The installed package uses this file too.
# oneDNN's own configuration file is not used: Debian's stops with an error where OpenCL's development files are missing,
# and libdnnl-dev does not install them.
find_path(strata_onednn_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
find_library(strata_onednn_LIBRARY dnnl)
# We set the number of OpenMP threads without compiling with -fopenmp, so the runtime has to be linked by hand. By its full
# path: a development link (libgomp.so) lies only in the folder of one g++ version, which clang++ may not search.
find_library(strata_onednn_OPENMP_LIBRARY NAMES libgomp.so.1 gomp)
mark_as_advanced(strata_onednn_INCLUDE_DIR strata_onednn_LIBRARY strata_onednn_OPENMP_LIBRARY)

if(strata_onednn_INCLUDE_DIR)
  file(STRINGS "${strata_onednn_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" lines REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" strata_onednn_VERSION "${lines}")
  string(REPLACE ";" "." strata_onednn_VERSION "${strata_onednn_VERSION}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(strata_onednn
  REQUIRED_VARS strata_onednn_LIBRARY strata_onednn_INCLUDE_DIR strata_onednn_OPENMP_LIBRARY
  VERSION_VAR strata_onednn_VERSION)

if(strata_onednn_FOUND AND NOT TARGET strata::onednn)
  add_library(strata::onednn UNKNOWN IMPORTED)
  set_target_properties(strata::onednn PROPERTIES
    IMPORTED_LOCATION "${strata_onednn_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${strata_onednn_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${strata_onednn_OPENMP_LIBRARY}")
endif()
