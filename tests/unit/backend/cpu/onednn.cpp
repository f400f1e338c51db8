// The number of oneDNN's primitives is bounded, its threads are not used, and too little memory is an error.
#include <strata/cpu.hpp>

#if STRATA_HAS_ONEDNN
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <dlfcn.h>
#include <exception>
#include <fstream>
#include <new>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/sanitizers.hpp"

using Catch::Matchers::ContainsSubstring;
using strata::index_type, strata::update, strata::view;

namespace {

/// A weight, and the rows that are multiplied by it.
struct products {
  index_type most, in, out;
  std::vector<float> x = numbers(most * in), y = numbers(most * out), weight = numbers(in * out), bias = numbers(out);

  static std::vector<float> numbers(index_type count) {
    std::vector<float> made(static_cast<std::size_t>(count));
    for (std::size_t n = 0; n < made.size(); ++n) made[n] = std::sin(static_cast<float>(n));
    return made;
  }
  view<float, 2> weights() { return {weight.data(), {out, in}}; }
  view<float, 2> inputs(index_type rows) { return {x.data(), {rows, in}}; }
  view<float, 2> outputs(index_type rows) { return {y.data(), {rows, out}}; }

  const std::vector<float>& forward(strata::cpu& backend, index_type rows) {
    linear(backend, inputs(rows), weights(), {bias.data(), {out}}, outputs(rows), update::replace);
    return y;
  }
};

/// This process's memory in bytes: reserved, and resident.
[[maybe_unused]] std::pair<std::size_t, std::size_t> process_memory() {
  std::ifstream file("/proc/self/statm");
  std::size_t reserved = 0, resident = 0;
  file >> reserved >> resident;
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return {reserved * page, resident * page};
}

}  // namespace

TEST_CASE("oneDNN: however many shapes there are, each thread keeps so many primitives, and results are the same") {
  constexpr auto most = static_cast<index_type>(strata::onednn_products::most_kept);
  constexpr index_type first = 5;  // oneDNN does not compute products of fewer rows
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    products own{first + threads * (most + 50), 16, 24};
    strata::cpu backend({.threads = threads}), fresh({.threads = threads});
    const std::vector<float> expected = own.forward(backend, first);
    const index_type all = own.most - first;
    for (index_type n = 0; n < all; ++n) {
      own.forward(backend, first + n);
      if (n % 50 == 0) own.forward(backend, first + 1);  // stays, because it is used
      if (backend.onednn()->kept(0) > strata::onednn_products::most_kept) FAIL(n << " shapes");
    }
    CHECK(backend.onednn()->kept(0) == strata::onednn_products::most_kept);
    std::fill(own.y.begin(), own.y.end(), 0.f);
    own.forward(backend, first);  // made again
    CHECK(std::equal(own.y.begin(), own.y.begin() + first * own.out, expected.begin()));
    for (const index_type rows : {first + 1, first + all / 2, own.most}) {
      const std::vector<float> again = own.forward(backend, rows);
      CHECK(own.forward(fresh, rows) == again);
    }
  }
}

#if !STRATA_TEST_SANITIZER  // they keep freed memory a while
TEST_CASE("oneDNN: memory stays where it is when new shapes come all the time") {
  CHECK(support::in_child([]() -> std::string {
          products own{6000, 32, 48};
          strata::cpu backend({.threads = 1});
          index_type rows = 5;
          const auto run = [&](index_type count) {
            for (const index_type end = rows + count; rows < end; ++rows) own.forward(backend, rows);
            return process_memory().second;
          };
          // After 1700 shapes both caches are full, ours and oneDNN's of 1024; the heap between them after some 4000.
          const std::size_t full = run(4000), after = run(1700);
          if (after < full + (4 << 20)) return "flat";
          return std::to_string(full) + " bytes grew to " + std::to_string(after);
        }) == "flat");
}

TEST_CASE("oneDNN: too little memory is an error that names the product, and the backend works on") {
  // From no memory to enough: each limit stops elsewhere, in our code or in oneDNN's.
  int errors = 0, successes = 0;
  for (std::size_t spare = 0; spare <= 40; ++spare) {
    CAPTURE(spare);
    const std::string said = support::in_child([&]() -> std::string {
      products own{2048, 512, 768};
      strata::cpu backend({.threads = 1});
      own.forward(backend, 8);
      rlimit limit{};
      getrlimit(RLIMIT_AS, &limit);
      const rlim_t outer = limit.rlim_cur;
      limit.rlim_cur = process_memory().first + spare * (rlim_t{768} << 10);
      if (setrlimit(RLIMIT_AS, &limit) != 0) return "no limit";
      std::string sentence = "computed";
      try {
        own.forward(backend, 2048);
        linear_backward_input(backend, own.outputs(2047), own.weights(), own.inputs(2047), update::add);
        linear_backward_weight(backend, own.outputs(2046), own.inputs(2046), own.weights(), {});
      } catch (const strata::error& problem) {
        sentence = problem.what();
      }
      limit.rlim_cur = outer;
      setrlimit(RLIMIT_AS, &limit);
      own.forward(backend, 2048);
      return sentence;
    });
    if (said == "computed") {
      ++successes;
    } else {
      ++errors;
      CHECK_THAT(said, ContainsSubstring("oneDNN could not multiply [") && ContainsSubstring("memory"));
    }
  }
  CHECK(errors > 3);
  CHECK(successes > 3);
}

/// Takes all memory that the process may still have, and gives it back.
class all_memory {
 public:
  all_memory() {
    getrlimit(RLIMIT_AS, &outer_);
    const rlimit none{1, outer_.rlim_max};
    setrlimit(RLIMIT_AS, &none);
    for (std::size_t bytes = 1 << 20; bytes >= sizeof(piece); bytes /= 2)
      while (void* const next = std::malloc(bytes)) taken_ = new (next) piece{taken_};
  }
  ~all_memory() {
    setrlimit(RLIMIT_AS, &outer_);
    while (taken_ != nullptr) std::free(std::exchange(taken_, taken_->before));
  }
  all_memory(const all_memory&) = delete;
  all_memory& operator=(const all_memory&) = delete;

 private:
  struct piece {
    piece* before;
  };
  piece* taken_ = nullptr;
  rlimit outer_{};
};

TEST_CASE("oneDNN: a thread that OpenMP does not know finds no memory, and the program goes on") {
  // With other libraries of threads, or with one processor, it may well be computed.
  const auto outcome = [](products& own, strata::cpu& backend) -> const char* {
    const all_memory taken;
    try {
      own.forward(backend, 512);
    } catch (const std::exception&) {
      return "goes on";
    }
    return "goes on";
  };
  CHECK(support::in_child([&]() -> std::string {  // the threads of the pool
          products own{512, 256, 384};
          strata::cpu backend({.threads = 2});
          const std::string first = outcome(own, backend);
          own.forward(backend, 512);
          return first;
        }) == "goes on");
  CHECK(support::in_child([&]() -> std::string {  // a thread that has the backend later
          products own{512, 256, 384};
          strata::cpu backend({.threads = 1});
          own.forward(backend, 512);
          std::string first;
          std::thread([&] { first = outcome(own, backend); }).join();
          own.forward(backend, 512);
          return first;
        }) == "goes on");
}
#endif

TEST_CASE("oneDNN: a product without rows or columns does nothing") {
  strata::cpu backend({.threads = 2});
  products own{8, 16, 24};
  const std::vector<float> before = own.weight;
  CHECK_NOTHROW(linear_backward_input(backend, own.outputs(0), own.weights(), own.inputs(0), update::replace));
  CHECK_NOTHROW(linear_backward_weight(backend, own.outputs(0), own.inputs(0), own.weights(), {}));
  CHECK(own.weight == before);
}

TEST_CASE("oneDNN: the program's own setting of OpenMP's threads stays, and no thread of OpenMP is started") {
  if (dnnl_version()->cpu_runtime != DNNL_RUNTIME_OMP) return;
  const auto set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  const auto most = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
  REQUIRE((set && most));
  const int outer = most();
  set(5);
  const auto threads_of_process = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
      if (line.starts_with("Threads:")) return std::stoi(line.substr(8));
    return -1;
  };
  const int before = threads_of_process();
  {
    strata::cpu backend({.threads = 2});
    products own{512, 256, 384};
    own.forward(backend, 512);
    CHECK(threads_of_process() == before + 1);
    CHECK(most() == 5);
  }
  set(outer);
}
#endif
