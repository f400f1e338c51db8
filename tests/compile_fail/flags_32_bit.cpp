// expect: strata: this library needs a 64-bit target
// flags: -m32 -Wfatal-errors
#include <strata/cpu.hpp>
