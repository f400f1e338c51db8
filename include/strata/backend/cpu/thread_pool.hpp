// A fork-join pool: a waiting thread spins a while, then sleeps; the caller is worker 0. It serves one thread at a
// time.
// Shapes: a range [0, count) is cut into one contiguous piece a thread, always the same way.
// The program benchmarks/operations measures what a region costs.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <strata/backend/cpu/processors.hpp>
#include <strata/backend/cpu/signals.hpp>
#include <strata/backend/exclusive_use.hpp>
#include <strata/core/error.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

class thread_pool {
 public:
  /// The pool starts no more threads than there are processors: more would only wait for each other. If `threads` is
  /// larger, a started thread does the work of several, one after the other.
  explicit thread_pool(int threads, int processors = available_processors())
      : count_(threads), started_(std::min(threads, processors)) {
    try {
      workers_.reserve(static_cast<std::size_t>(started_));
      const signals_wait handlers_run_elsewhere;  // a new thread inherits the signal mask
      for (int worker = 1; worker < started_; ++worker) workers_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::exception& problem) {
      const std::size_t running = workers_.size() + 1;
      stop_and_join();
      fail("of ", started_, " threads only ", running, " could be started: ", problem.what());
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() {
    if (forked())  // the threads are not in this process: they can be neither joined nor destroyed
      new std::vector<std::thread>(std::move(workers_));
    else
      stop_and_join();
  }

  int threads() const { return count_; }

  /// Begins the exclusive use of the pool and its memory: see `exclusive_use`. Throws if another thread uses it, in a
  /// parallel region and in a forked process.
  bool enter() {
    if (forked()) refuse();
    if (user_.is_this_thread()) {
      if (in_region_) refuse();
      return false;
    }
    if (!user_.take()) refuse();
    return true;
  }
  void leave() { user_.leave(); }

  /// An exclusive use during which no thread, not even this one, may begin another.
  class region {
   public:
    explicit region(thread_pool& pool) : use_(pool), pool_(pool) { pool.in_region_ = true; }
    ~region() { pool_.in_region_ = false; }
    region(const region&) = delete;
    region& operator=(const region&) = delete;

   private:
    exclusive_use<thread_pool> use_;
    thread_pool& pool_;
  };

  /// Calls `task(thread)` for every thread in [0, threads()) and returns when all have returned. Rethrows an exception
  /// of a task.
  template <class Task>
  void run(Task&& task) {
    using callable = std::remove_reference_t<Task>;
    run([](void* object, int thread) { (*static_cast<callable*>(object))(thread); },
        const_cast<void*>(static_cast<const void*>(&task)));
  }
  /// The same for task(object, thread).
  void run(void (*task)(void*, int), void* object) {
    const region alone(*this);
    if (count_ == 1) return task(object, 0);
    task_ = task;
    object_ = object;
    failure_ = nullptr;
    running_.store(started_ - 1, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) generation_.notify_all();
    do_share(0);
    for (int spin = 0, left; (left = running_.load(std::memory_order_acquire)) > 0; ++spin)
      if (spin < spins_before_sleep_)
        STRATA_PAUSE();
      else
        running_.wait(left, std::memory_order_acquire);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  /// The pool that this thread works for; null for other threads.
  static const thread_pool*& employer() {
    static thread_local const thread_pool* pool = nullptr;
    return pool;
  }

  /// Whether this process was forked off the pool's own: then it has none of the threads.
  bool forked() const { return started_ > 1 && user_.forked(); }

  [[noreturn]] void refuse() const {
    require(!forked(), "the cpu backend was made before this process was forked, and its ", started_,
            " threads stayed in the other process: make a backend here");
    require(!user_.is_this_thread() && employer() != this,
            "the cpu backend was called inside a parallel region of its own: what runs there needs another backend");
    fail("the cpu backend is at work for another thread: it serves one at a time, so give each thread its own");
  }

  void stop_and_join() {
    stop_.store(true);
    generation_.fetch_add(1);
    generation_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void do_share(int worker) {
    for (int thread = worker; thread < count_; thread += started_) try {
        task_(object_, thread);
      } catch (...) {
        if (!failing_.test_and_set()) {
          failure_ = std::current_exception();
          failing_.clear();
        }
      }
  }

  void serve(int worker) {
    employer() = this;
    for (unsigned seen = 0;;) {
      for (int spin = 0; generation_.load(std::memory_order_acquire) == seen; ++spin) {
        if (spin < spins_before_sleep_) {
          STRATA_PAUSE();
          continue;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        generation_.wait(seen, std::memory_order_seq_cst);
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      }
      ++seen;
      if (stop_.load()) return;
      do_share(worker);
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
    }
  }

  static constexpr int spins_before_sleep_ = 2000;
  int count_, started_;
  std::vector<std::thread> workers_;
  void (*task_)(void*, int) = nullptr;
  void* object_ = nullptr;
  bool in_region_ = false;  // written by the thread that uses the pool
  std::exception_ptr failure_;
  std::atomic_flag failing_ = ATOMIC_FLAG_INIT;
  sole_user user_;
  alignas(64) std::atomic<unsigned> generation_{0};
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace strata
