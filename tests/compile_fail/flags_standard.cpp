// expect: strata: this library needs C++20
// flags: -std=c++17 -Wfatal-errors
#include <strata/cpu.hpp>
