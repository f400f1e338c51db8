// Names for a profiler's timeline, and work that is recorded once and then repeated. Here both only do the work; a
// backend may have its own, as backend/cuda/graph.hpp.
#pragma once

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Whether an operation is finished when it returns: then results need no wait, but no work is recorded.
template <class Backend>
inline constexpr bool computes_at_once = true;

/// While it lives, host work appears as `name` in a profiler's timeline.
template <class Backend>
struct phase {
  phase(const Backend& /*backend*/, const char* /*name*/) {}
  phase(const phase&) = delete;
  phase& operator=(const phase&) = delete;
};

/// Operations that are called again and again. run(backend, key, body) does the work of body(). `body` may only
/// call operations, and for equal keys the same ones with the same arguments. So a backend may record them and repeat
/// them without `body`.
template <class Backend, class Key>
class recording {
 public:
  template <class Body>
  void run(Backend& /*backend*/, const Key& /*key*/, Body body) {
    body();
  }
  /// Call it when arguments change that the key does not hold, such as memory addresses.
  void clear() {}
};

}  // namespace strata
