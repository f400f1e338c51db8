// The pool runs a task once on every thread, waits for all, and passes exceptions on.
#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include <strata/backend/cpu/thread_pool.hpp>

#include "support/catch.hpp"

using strata::thread_pool;

TEST_CASE("thread pool: every thread runs the task once") {
  for (const int threads : {1, 2, 3, 7}) {
    thread_pool pool(threads);
    CHECK(pool.threads() == threads);
    for (int round = 0; round < 100; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(threads));
      pool.run([&](int thread) { ++runs.at(static_cast<std::size_t>(thread)); });
      for (const auto& each : runs) REQUIRE(each == 1);
    }
  }
}

TEST_CASE("thread pool: the caller is thread 0, the others are not") {
  thread_pool pool(3);
  std::vector<std::thread::id> ids(3);
  pool.run([&](int thread) { ids[static_cast<std::size_t>(thread)] = std::this_thread::get_id(); });
  CHECK(ids[0] == std::this_thread::get_id());
  CHECK(ids[1] != ids[0]);
  CHECK(ids[2] != ids[0]);
  CHECK(ids[1] != ids[2]);
}

TEST_CASE("thread pool: ten thousand small regions") {
  thread_pool pool(3);
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
  thread_pool pool(3);
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    std::atomic<int> runs{0};
    pool.run([&](int) { ++runs; });
    CHECK(runs == 3);
  }
}

TEST_CASE("thread pool: an exception of any thread reaches the caller, after all have finished") {
  for (const int threads : {1, 3}) {
    thread_pool pool(threads);
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
  for (int round = 0; round < 50; ++round) thread_pool pool(4);
  SUCCEED();
}
