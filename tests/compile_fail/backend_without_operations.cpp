// expect: strata: this backend lacks the operation 'upload'
// errors: many
#include <strata/config/presets.hpp>
#include <strata/core/buffer.hpp>
#include <strata/model/transformer.hpp>

struct bare {
  using scalar = float;
  template <class T>
  using storage = strata::buffer<T>;
};

static_assert(sizeof(strata::transformer<strata::presets::small, bare>) > 0);
