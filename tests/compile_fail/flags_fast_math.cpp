// expect: strata: -ffast-math makes attention wrong and hides NaN
// flags: -O2 -ffast-math -Wfatal-errors
#include <strata/cpu.hpp>
