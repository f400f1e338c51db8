// The second translation unit. POSIX declares some of its names.
#include <strings.h>

#include <strata/cpu.hpp>
#include <strata/strata.hpp>

using namespace strata;

int second();
int second() {
  const index_type width = index("ab", 'b') == nullptr ? 0 : 2;
  return static_cast<int>(width);
}
