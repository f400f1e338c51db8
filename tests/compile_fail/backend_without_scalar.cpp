// expect: strata: the backend lacks the type 'scalar'
#include <strata/reference.hpp>

struct bare {
  template <class T>
  using storage = strata::buffer<T>;
};

static_assert(sizeof(strata::trainer<strata::presets::small, bare>) > 0);
