// The pool runs a task once on every thread, waits for all, and passes exceptions on.
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <numeric>
#include <optional>
#include <pthread.h>
#include <set>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include <strata/backend/cpu/thread_pool.hpp>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/sanitizers.hpp"

using Catch::Matchers::ContainsSubstring;
using strata::exclusive_use, strata::thread_pool;

TEST_CASE("thread pool: every thread runs the task once") {
  for (const int threads : {1, 2, 3, 7}) {
    thread_pool pool(threads, threads);
    CHECK(pool.threads() == threads);
    for (int round = 0; round < 100; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(threads));
      pool.run([&](int thread) { ++runs.at(static_cast<std::size_t>(thread)); });
      for (const auto& each : runs) REQUIRE(each == 1);
    }
  }
}

TEST_CASE("thread pool: the caller is thread 0, the others are not") {
  thread_pool pool(3, 3);
  std::vector<std::thread::id> ids(3);
  pool.run([&](int thread) { ids[static_cast<std::size_t>(thread)] = std::this_thread::get_id(); });
  CHECK(ids[0] == std::this_thread::get_id());
  CHECK(ids[1] != ids[0]);
  CHECK(ids[2] != ids[0]);
  CHECK(ids[1] != ids[2]);
}

TEST_CASE("thread pool: ten thousand small regions") {
  thread_pool pool(3, 3);
  std::vector<long> sums(3 * 16);  // one cache line a thread; not atomic: the pool must order all accesses
  long expected = 0;
  for (int round = 0; round < 10000; ++round) {
    pool.run([&](int thread) { sums[static_cast<std::size_t>(thread) * 16] += round; });
    expected += 3 * round;
    if (sums[0] + sums[16] + sums[32] != expected) FAIL("round " << round);
  }
  CHECK(std::accumulate(sums.begin(), sums.end(), 0L) == expected);
}

TEST_CASE("thread pool: sleeping threads wake up") {
  thread_pool pool(3, 3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    std::atomic<int> runs{0};
    pool.run([&](int) { ++runs; });
    CHECK(runs == 3);
  }
}

TEST_CASE("thread pool: an exception of any thread reaches the caller, after all have finished") {
  for (const int threads : {1, 3}) {
    thread_pool pool(threads, threads);
    for (int failing = 0; failing < threads; ++failing) {
      std::atomic<int> finished{0};
      CHECK_THROWS_WITH(pool.run([&](int thread) {
        if (thread == failing) throw std::runtime_error("thread " + std::to_string(thread));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ++finished;
      }),
                        "thread " + std::to_string(failing));
      CHECK(finished == threads - 1);
    }
    // All at once: one of them is passed on, and the pool works on.
    CHECK_THROWS_AS(pool.run([](int) { throw std::invalid_argument("all"); }), std::invalid_argument);
    std::atomic<int> runs{0};
    CHECK_NOTHROW(pool.run([&](int) { ++runs; }));
    CHECK(runs == threads);
  }
}

TEST_CASE("thread pool: made and destroyed without work") {
  for (int round = 0; round < 50; ++round) thread_pool pool(4, 4);
  SUCCEED();
}

TEST_CASE("thread pool: threads that outnumber the processors share the threads that are there") {
  thread_pool pool(5, 2);
  CHECK(pool.threads() == 5);
  std::array<std::thread::id, 5> ids;
  std::array<int, 5> runs{};  // not atomic: each is of one thread
  for (int round = 0; round < 100; ++round)
    pool.run([&](int thread) {
      ids.at(static_cast<std::size_t>(thread)) = std::this_thread::get_id();
      ++runs.at(static_cast<std::size_t>(thread));
    });
  CHECK(runs == std::array<int, 5>{100, 100, 100, 100, 100});
  CHECK(std::set(ids.begin(), ids.end()).size() == 2);
  CHECK(ids[0] == std::this_thread::get_id());
  // The others finish when one throws, also those of the same thread.
  std::atomic<int> finished{0};
  CHECK_THROWS_WITH(pool.run([&](int thread) {
    if (thread == 1) throw std::runtime_error("thread 1");
    ++finished;
  }),
                    "thread 1");
  CHECK(finished == 4);
}

TEST_CASE("thread pool: a region inside a region is refused, on every thread") {
  for (const int threads : {1, 3}) {
    thread_pool pool(threads, threads);
    std::atomic<int> refused{0};
    pool.run([&](int) {
      try {
        pool.run([](int) {});
      } catch (const strata::error&) {
        ++refused;
      }
    });
    CHECK(refused == threads);
    for (int inner = 0; inner < threads; ++inner)
      CHECK_THROWS_WITH(pool.run([&](int thread) {
        if (thread == inner) pool.run([](int) {});
      }),
                        ContainsSubstring("inside a parallel region of its own"));
    // Another pool is no part of this one.
    thread_pool other(2, 2);
    std::atomic<int> runs{0};
    pool.run([&](int thread) {
      if (thread == 0) other.run([&](int) { ++runs; });
    });
    CHECK(runs == 2);
    pool.run([&](int) { ++runs; });
    CHECK(runs == 2 + threads);
  }
}

TEST_CASE("thread pool: a second thread at once is refused, one after the other is not") {
  for (const int threads : {1, 3}) {
    thread_pool pool(threads, threads);
    std::atomic<bool> inside{false}, tried{false};
    std::thread first([&] {
      pool.run([&](int thread) {
        if (thread != 0) return;
        inside = true;
        while (!tried) std::this_thread::yield();
      });
    });
    while (!inside) std::this_thread::yield();
    CHECK_THROWS_WITH(pool.run([](int) {}), ContainsSubstring("give each thread its own"));
    CHECK_THROWS_WITH(exclusive_use(pool), ContainsSubstring("give each thread its own"));
    tried = true;
    first.join();
    std::atomic<int> runs{0};
    pool.run([&](int) { ++runs; });
    CHECK(runs == threads);
  }
}

TEST_CASE("thread pool: of two threads that never wait for one another, each has the pool to itself or an error") {
  thread_pool pool(2, 2);
  long sums[2] = {}, done = 0;  // not atomic: owned by the thread that uses the pool
  std::atomic<long> uses{0}, refusals{0};
  const auto use = [&] {
    for (int round = 0; round < 2000; ++round) try {
        const exclusive_use in_use(pool);
        pool.run([&](int thread) { ++sums[thread]; });
        ++done;
        ++uses;
      } catch (const strata::error&) {
        ++refusals;
      }
  };
  std::thread other(use);
  use();
  other.join();
  CHECK(uses + refusals == 4000);
  CHECK(done == uses);
  CHECK(sums[0] == uses);
  CHECK(sums[1] == uses);
}

TEST_CASE("thread pool: a forked process is told that the threads are not there, and can end") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    std::optional<thread_pool> pool(std::in_place, threads, threads);
    pool->run([](int) {});
    const std::string said = support::in_child([&]() -> std::string {
      std::string sentence = "none";
      try {
        pool->run([](int) {});
      } catch (const strata::error& problem) {
        sentence = problem.what();
      }
      pool.reset();
#if !STRATA_TEST_THREAD_SANITIZER  // which allows no new threads there
      for (int round = 0; round < 3; ++round) thread_pool(4, 4).run([](int) {});
#endif
      return sentence;
    });
    if (threads == 1)
      CHECK(said == "none");
    else
      CHECK_THAT(said, ContainsSubstring("before this process was forked"));
    std::atomic<int> runs{0};
    pool->run([&](int) { ++runs; });
    CHECK(runs == threads);
  }
}

TEST_CASE("thread pool: its threads leave the program's signals to the program") {
  thread_pool pool(3, 3);
  const std::thread::id caller = std::this_thread::get_id();
  pool.run([&](int) {
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    const bool own = std::this_thread::get_id() != caller;
    for (const int number : {SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGUSR1})
      if ((sigismember(&blocked, number) == 1) != own) throw std::runtime_error("waits: " + std::to_string(number));
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
      if (sigismember(&blocked, number) == 1) throw std::runtime_error("blocked: " + std::to_string(number));
  });
}

#if !STRATA_TEST_SANITIZER  // whose memory is larger than any limit
TEST_CASE("thread pool: threads that cannot be started are an error, and the started ones end") {
  const std::string said = support::in_child([]() -> std::string {
    const rlimit limit{rlim_t{400} << 20, rlim_t{400} << 20};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return "no limit";
    try {
      thread_pool pool(500, 500);
    } catch (const strata::error& problem) {
      return problem.what();
    }
    return "all were started";
  });
  CHECK_THAT(said, ContainsSubstring("of 500 threads only ") && ContainsSubstring("could be started: "));
}
#endif
