// Signals that wait while a matrix product runs, and that the threads of a pool never receive.
// Source: pthread_sigmask(3), signal(7); oneDNN's issue 4845.
#pragma once

#include <initializer_list>
#include <pthread.h>
#include <signal.h>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// While it lives, signals wait if they can.
class signals_wait {
 public:
  signals_wait() {
    const sigset_t waiting = that_can_wait();
    pthread_sigmask(SIG_BLOCK, &waiting, &outer_);
  }
  ~signals_wait() { pthread_sigmask(SIG_SETMASK, &outer_, nullptr); }
  signals_wait(const signals_wait&) = delete;
  signals_wait& operator=(const signals_wait&) = delete;

  static sigset_t that_can_wait() {
    sigset_t set;
    sigfillset(&set);
    // An instruction raises these and cannot go on: the system would end the program without calling its handler.
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&set, number);
    // A breakpoint or a filtered system call raises these: debuggers and sandboxes answer them at once.
    for (const int number : {SIGTRAP, SIGSYS}) sigdelset(&set, number);
    // abort() must end the program here, with its caller on the stack.
    sigdelset(&set, SIGABRT);
    // A profiler asks where the program is now; a later answer is wrong. Where oneDNN moves the stack, its handler
    // needs its own stack: sigaltstack(2) and SA_ONSTACK.
    sigdelset(&set, SIGPROF);
    return set;
  }

 private:
  sigset_t outer_;
};

}  // namespace strata
