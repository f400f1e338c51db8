// A signal may come in the middle of a product: programs catch SIGINT, profilers send one every millisecond.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <pthread.h>
#include <sys/time.h>
#include <thread>
#include <ucontext.h>
#include <vector>

#include <strata/cpu.hpp>

#include "support/catch.hpp"

namespace {

volatile std::sig_atomic_t signals_seen = 0, off_the_stack = 0;
std::uintptr_t stack_begin = 0, stack_end = 0;

void look_where_we_are(int) {
  // Not the address of a variable: a sanitizer may put it elsewhere.
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

/// Kernels for AVX-512 do not move the stack, so products use those for AVX2. No effect where the process has made
/// products before.
void use_kernels_that_move_the_stack() { setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 0); }

constexpr int never_wait[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF};

volatile std::sig_atomic_t profiled = 0, in_a_product = 0, blocked = 0;

/// Like a profiler's handler: sees which signals are blocked where it interrupts.
void profile(int, siginfo_t*, void* context) {
  const sigset_t& waiting = static_cast<const ucontext_t*>(context)->uc_sigmask;
  profiled = profiled + 1;
  if (sigismember(&waiting, SIGALRM) == 1) in_a_product = in_a_product + 1;
  for (const int number : never_wait)
    if (sigismember(&waiting, number) == 1) blocked = blocked + 1;
}

/// Sends SIGPROF to the thread that made it, as fast as it can. The handler has its own stack.
class profiler {
 public:
  profiler() : stack_(1 << 16) {
    const stack_t own{stack_.data(), 0, stack_.size()};
    REQUIRE(sigaltstack(&own, &stack_before_) == 0);
    struct sigaction action {};
    action.sa_sigaction = profile;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    REQUIRE(sigaction(SIGPROF, &action, &before_) == 0);
    sender_ = std::thread([this, profiled_thread = pthread_self()] {
      while (!stop_) {
        pthread_kill(profiled_thread, SIGPROF);
        std::this_thread::sleep_for(std::chrono::microseconds(20));
      }
    });
  }
  ~profiler() {
    stop_ = true;
    sender_.join();
    sigaction(SIGPROF, &before_, nullptr);
    sigaltstack(&stack_before_, nullptr);
  }
  profiler(const profiler&) = delete;
  profiler& operator=(const profiler&) = delete;

 private:
  std::vector<char> stack_;
  stack_t stack_before_{};
  struct sigaction before_ {};
  std::atomic<bool> stop_{false};
  std::thread sender_;
};

}  // namespace

TEST_CASE("signals: a handler runs on the stack of its thread, never in the memory of a product") {
  use_kernels_that_move_the_stack();
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

TEST_CASE("signals: those wait that can") {
  const sigset_t waiting = strata::signals_wait::that_can_wait();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGCHLD, SIGUSR1, SIGPIPE, SIGWINCH, SIGRTMIN, SIGRTMAX})
    CHECK(sigismember(&waiting, number) == 1);
  for (const int number : never_wait) CHECK(sigismember(&waiting, number) == 0);

  // Signals that the program blocks stay blocked, and no others.
  sigset_t own, before, inside, after;
  sigemptyset(&own);
  sigaddset(&own, SIGUSR2);
  sigaddset(&own, SIGPROF);
  pthread_sigmask(SIG_BLOCK, &own, &before);
  {
    const strata::signals_wait now;
    pthread_sigmask(SIG_SETMASK, nullptr, &inside);
  }
  pthread_sigmask(SIG_SETMASK, &before, &after);
  for (int number = 1; number < SIGRTMIN; ++number) {
    if (number == SIGKILL || number == SIGSTOP) continue;  // cannot be blocked
    CAPTURE(number);
    const bool by_program = number == SIGUSR2 || number == SIGPROF || sigismember(&before, number) == 1;
    CHECK(sigismember(&after, number) == by_program);
    CHECK(sigismember(&inside, number) == (by_program || sigismember(&waiting, number) == 1));
  }
}

#if STRATA_HAS_ONEDNN
TEST_CASE("signals: a profiler looks into products, which compute the same") {
  use_kernels_that_move_the_stack();
  using strata::index_type, strata::view;
  const index_type rows = 128, in = 512, out = 256;
  std::vector<float> x(rows * in, 0.5f), y(rows * out), weight(out * in, 0.25f), expected;
  const view<float, 2> inputs(x.data(), {rows, in}), outputs(y.data(), {rows, out}), weights(weight.data(), {out, in});
  strata::cpu backend({.threads = 1});
  linear(backend, inputs, weights, {}, outputs, strata::update::replace);
  expected = y;
  profiled = 0;
  in_a_product = 0;
  blocked = 0;
  int wrong = 0;
  {
    const profiler watching;
    while (profiled < 2000 || in_a_product < 20) {
      linear(backend, inputs, weights, {}, outputs, strata::update::replace);
      if (y != expected) ++wrong;
    }
  }
  CHECK(wrong == 0);
  CHECK(blocked == 0);
}
#endif
