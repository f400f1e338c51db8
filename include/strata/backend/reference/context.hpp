// The reference backend: plain loops over one scalar type, float or double. Its operations are the specification.
// Shapes: backend/backend.hpp.
// Source: docs/model.md.
#pragma once

#include <strata/backend/backend.hpp>
#include <strata/core/buffer.hpp>

namespace strata::inline STRATA_ABI {

template <class Scalar>
struct reference {
  using scalar = Scalar;
  template <class T>
  using storage = buffer<T>;
};

}  // namespace strata
