// expect: strata: -ffast-math makes attention wrong and hides NaN
// flags: -Ofast -Wfatal-errors
#include <strata/cpu.hpp>
