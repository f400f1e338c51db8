# Compiles ${case} with ${compiler}, the options in the file ${flags} and those in the second line of ${case}, if it is
# '// flags: <options>'. Passes only if the expected error is the first and the only one. A line '// errors: <number>' or
# '// errors: many' after the first line allows more.
file(READ "${case}" text)
if(NOT text MATCHES "^// expect: *([^ \n][^\n]*)")
  message(FATAL_ERROR "${case}: the first line must be '// expect: <sentence>'")
endif()
string(STRIP "${CMAKE_MATCH_1}" expected)
set(own_flags)
if(text MATCHES "^[^\n]*\n// flags: *([^\n]+)")
  separate_arguments(own_flags UNIX_COMMAND "${CMAKE_MATCH_1}")
endif()
set(most 1)
if(text MATCHES "\n// errors: *([^\n]+)")
  set(most "${CMAKE_MATCH_1}")
endif()

set(ENV{LC_ALL} C)
execute_process(COMMAND "${compiler}" "@${flags}" ${own_flags} "${case}"
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result STREQUAL "0")
  message(FATAL_ERROR "${case} compiles, but should fail with: ${expected}")
endif()

# Only the text after "error:" counts: the file's name comes before it.
string(REGEX MATCH "error: [^\n]*" error "${output}")
string(FIND "${error}" "${expected}" position)
if(position EQUAL -1)
  message(FATAL_ERROR "${case}\nexpected: ${expected}\nfirst error: ${error}\n\n${output}")
endif()
string(REGEX MATCHALL "error: " errors "${output}")
list(LENGTH errors count)
if(NOT most STREQUAL "many" AND count GREATER most)
  message(FATAL_ERROR "${case}: ${count} errors, but at most ${most} expected\n\n${output}")
endif()
