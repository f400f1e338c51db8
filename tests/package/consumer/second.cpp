// The second translation unit.
#include <strata/cpu.hpp>
#include <strata/strata.hpp>

int second();
int second() { return 2; }
