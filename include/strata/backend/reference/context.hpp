// The reference backend: plain loops over one scalar type, float or double. Its operations are the specification.
// Shapes: backend/backend.hpp.
// Source: docs/model.md.
#pragma once

#include <strata/backend/backend.hpp>
#include <strata/backend/exclusive_use.hpp>
#include <strata/core/buffer.hpp>

namespace strata::inline STRATA_ABI {

template <class Scalar>
class reference {
 public:
  using scalar = Scalar;
  template <class T>
  using storage = buffer<T>;

  /// Begins an `exclusive_use`.
  bool enter() {
    if (user_.is_this_thread()) return false;
    require(user_.take(), "the reference backend is at work for another thread: it serves one at a time");
    return true;
  }
  void leave() { user_.leave(); }

 private:
  sole_user user_;
};

}  // namespace strata
