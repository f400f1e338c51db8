// The first of two translation units with the same headers: they must link into one program.
#include <cstdio>

#include <strata/cpu.hpp>
#include <strata/strata.hpp>

#if defined(EXPECT_ONEDNN) != defined(STRATA_HAS_ONEDNN)
#error "the choice of oneDNN did not reach the user"
#endif

int second();

int main() {
  std::puts("strata works from another project");
  return second() == 2 ? 0 : 1;
}
