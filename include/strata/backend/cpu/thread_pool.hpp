// A fork-join pool: who waits spins a while, then sleeps; the caller is worker 0.
// Shapes: a range [0, count) is cut into one contiguous piece a thread, always the same way.
// Source: own; benchmarks/operations measures what a region costs.
#pragma once

#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

class thread_pool {
 public:
  explicit thread_pool(int threads) : count_(threads) {
    try {
      for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::system_error& problem) {
      const std::size_t started = workers_.size() + 1;
      stop_and_join();
      fail("of ", threads, " threads only ", started, " could be started: ", problem.what());
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { stop_and_join(); }

  int threads() const { return count_; }

  /// Calls `task(thread)` once on every thread and returns when all have returned. An exception of any of
  /// them is thrown again here.
  template <class Task>
  void run(Task&& task) {
    if (count_ == 1) {
      task(0);
      return;
    }
    using callable = std::remove_reference_t<Task>;
    task_ = [](void* object, int thread) { (*static_cast<callable*>(object))(thread); };
    object_ = const_cast<void*>(static_cast<const void*>(&task));
    failure_ = nullptr;
    running_.store(count_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) generation_.notify_all();
    guarded(0);
    for (int spin = 0, left; (left = running_.load(std::memory_order_acquire)) > 0; ++spin)
      if (spin < spins_before_sleep)
        STRATA_PAUSE();
      else
        running_.wait(left, std::memory_order_acquire);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static constexpr int spins_before_sleep = 2000;

  void stop_and_join() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void guarded(int thread) {
    try {
      task_(object_, thread);
    } catch (...) {
      if (!failing_.test_and_set()) {
        failure_ = std::current_exception();
        failing_.clear();
      }
    }
  }

  void serve(int worker) {
    for (unsigned seen = 0;;) {
      for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
        if (spin < spins_before_sleep) {
          STRATA_PAUSE();
          continue;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        generation_.wait(seen, std::memory_order_seq_cst);
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      }
      ++seen;
      if (stop_.load()) return;
      guarded(worker);
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
    }
  }

  int count_;
  std::vector<std::thread> workers_;
  void (*task_)(void*, int) = nullptr;
  void* object_ = nullptr;
  std::exception_ptr failure_;
  std::atomic_flag failing_ = ATOMIC_FLAG_INIT;
  alignas(64) std::atomic<unsigned> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace strata
