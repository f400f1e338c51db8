// expect: strata: -fassociative-math, a part of -funsafe-math-optimizations, makes exponentials wrong
// flags: -O2 -funsafe-math-optimizations -Wfatal-errors
#include <strata/cpu.hpp>
