// One thread at a time uses a backend. A second thread gets an error instead of wrong numbers.
// Source: pthread_atfork(3).
#pragma once

#include <atomic>
#include <pthread.h>
#include <utility>

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

/// How often this process was forked off since it was watched: a child has one more than its parent.
inline std::atomic<int> forks{0};
inline void watch_forks() {
  static const int failed = pthread_atfork(nullptr, nullptr, [] { ++forks; });
  require(failed == 0, "forks of this process cannot be watched: error ", failed);
}

/// The thread that uses a backend, if any, and the process that made the backend.
class sole_user {
 public:
  sole_user() {
    watch_forks();
    forks_ = forks.load();
  }

  /// Whether this process was forked off the one that made the backend.
  bool forked() const { return forks.load(std::memory_order_relaxed) != forks_; }
  bool is_this_thread() const { return user_.load(std::memory_order_relaxed) == this_thread(); }
  /// Makes this thread the user. False if there is one.
  bool take() {
    const void* nobody = nullptr;
    return user_.compare_exchange_strong(nobody, this_thread(), std::memory_order_acquire);
  }
  void leave() { user_.store(nullptr, std::memory_order_release); }

 private:
  /// An address that no other living thread has.
  static const void* this_thread() {
    static thread_local const char own = 0;
    return &own;
  }

  int forks_ = 0;
  alignas(64) std::atomic<const void*> user_{nullptr};
};

/// While it lives, `Owner` serves the calling thread alone, which may hold several. `enter()` of the owner throws if
/// another thread uses it, and returns false if this thread uses it already.
template <class Owner>
class exclusive_use {
 public:
  explicit exclusive_use(Owner& owner) : owner_(owner.enter() ? &owner : nullptr) {}
  ~exclusive_use() {
    if (owner_ != nullptr) owner_->leave();
  }
  exclusive_use(const exclusive_use&) = delete;
  exclusive_use& operator=(const exclusive_use&) = delete;

 private:
  Owner* owner_;
};

/// work(), with the backend for this thread alone if the backend has `enter()` and `leave()`. A lack of memory is a
/// `strata::error` about `what`.
template <class Backend, class Work>
decltype(auto) exclusively(Backend& backend, const char* what, Work&& work) {
  if constexpr (requires { backend.enter(), backend.leave(); }) {
    const exclusive_use in_use(backend);
    return with_memory_for(what, std::forward<Work>(work));
  } else {
    return with_memory_for(what, std::forward<Work>(work));
  }
}

}  // namespace strata
