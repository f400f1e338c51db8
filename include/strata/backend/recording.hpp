// What stands around operations: names for a profiler's timeline, and work that is recorded once and then repeated. These do
// nothing but the work; a backend for which they mean more has its own, as backend/cuda/graph.hpp.
#pragma once

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Whether operations are done when they return: then a result can be asked for without a wait, but no work is recorded.
template <class Backend>
inline constexpr bool computes_at_once = true;

/// While it lives, what the host does counts as `name` in a profiler's timeline.
template <class Backend>
struct phase {
  phase(const Backend& /*backend*/, const char* /*name*/) {}
  phase(const phase&) = delete;
  phase& operator=(const phase&) = delete;
};

/// Operations that are called again and again. run(backend, key, body) does what body() does, which calls operations and
/// nothing else: the same ones with the same arguments whenever `key` is equal. So a backend may record what they are, and
/// repeat it without calling `body`.
template <class Backend, class Key>
class recording {
 public:
  template <class Body>
  void run(Backend& /*backend*/, const Key& /*key*/, Body body) {
    body();
  }
  /// Has to be called where arguments change that the key does not hold, such as where the memory is.
  void clear() {}
};

}  // namespace strata
