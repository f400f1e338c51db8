// expect: strata: -ffinite-math-only makes attention wrong and hides NaN
// flags: -O2 -ffinite-math-only -Wfatal-errors
#include <strata/cpu.hpp>
