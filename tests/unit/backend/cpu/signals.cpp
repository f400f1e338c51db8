// A signal may come in the middle of a product: programs catch SIGINT, profilers send one every millisecond.
#include <csignal>
#include <cstdint>
#include <pthread.h>
#include <sys/time.h>
#include <vector>

#include <strata/cpu.hpp>

#include "support/catch.hpp"

namespace {

volatile std::sig_atomic_t signals_seen = 0, off_the_stack = 0;
std::uintptr_t stack_begin = 0, stack_end = 0;

void look_where_we_are(int) {
  // Not the address of a variable, which a sanitizer may put elsewhere.
  const auto address = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  signals_seen = signals_seen + 1;
  if (address < stack_begin || address >= stack_end) off_the_stack = off_the_stack + 1;
}

/// Sends SIGALRM all the while, as fast as the system can.
class signal_storm {
 public:
  signal_storm() {
    pthread_attr_t attributes;
    void* begin = nullptr;
    std::size_t size = 0;
    REQUIRE(pthread_getattr_np(pthread_self(), &attributes) == 0);
    REQUIRE(pthread_attr_getstack(&attributes, &begin, &size) == 0);
    pthread_attr_destroy(&attributes);
    stack_begin = reinterpret_cast<std::uintptr_t>(begin);
    stack_end = stack_begin + size;
    struct sigaction action {};
    action.sa_handler = look_where_we_are;
    REQUIRE(sigaction(SIGALRM, &action, &before_) == 0);
    const itimerval often{{0, 50}, {0, 50}};
    REQUIRE(setitimer(ITIMER_REAL, &often, nullptr) == 0);
  }
  ~signal_storm() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }
  signal_storm(const signal_storm&) = delete;
  signal_storm& operator=(const signal_storm&) = delete;

 private:
  struct sigaction before_ {};
};

}  // namespace

TEST_CASE("signals: a handler runs on the stack of its thread, never in the memory of a product") {
  using strata::index_type, strata::view;
  const index_type rows = 128, in = 64, out = 256;
  const auto zeros = [](index_type count) { return std::vector<float>(static_cast<std::size_t>(count)); };
  auto x = zeros(rows * in), y = zeros(rows * out), weight = zeros(out * in), bias = zeros(out);
  const view<float, 2> inputs(x.data(), {rows, in}), outputs(y.data(), {rows, out}), weights(weight.data(), {out, in});
  strata::cpu backend({.threads = 1});
  signals_seen = 0;
  off_the_stack = 0;
  {
    const signal_storm storm;
    while (signals_seen < 2000) {
      linear(backend, inputs, weights, {bias.data(), {out}}, outputs, strata::update::replace);
      linear_backward_input(backend, outputs, weights, inputs, strata::update::replace);
      linear_backward_weight(backend, outputs, inputs, weights, {bias.data(), {out}});
    }
  }
  CHECK(off_the_stack == 0);
}
