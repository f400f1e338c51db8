# strata_find(<package> <description> <Debian package> [find_package arguments]): finds it, or says in one sentence what
# to install.
macro(strata_find package description debian)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "strata needs ${description}: install the Debian package ${debian}.")
  endif()
endmacro()
