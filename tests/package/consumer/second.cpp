// The second translation unit. Its names meet those of POSIX.
#include <strings.h>

#include <strata/cpu.hpp>
#include <strata/strata.hpp>

using namespace strata;

int second();
int second() {
  const index_type width = index("ab", 'b') == nullptr ? 0 : 2;
  return static_cast<int>(width);
}
