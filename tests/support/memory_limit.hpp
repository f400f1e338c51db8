// A process that gets no more memory from the system: only small objects fit in what it has.
#pragma once

#include <sys/resource.h>

// The address sanitizer ends a program that finds no memory.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRATA_TESTS_WITHOUT_MEMORY 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define STRATA_TESTS_WITHOUT_MEMORY 0
#endif
#ifndef STRATA_TESTS_WITHOUT_MEMORY
#define STRATA_TESTS_WITHOUT_MEMORY 1
#endif

class no_more_memory {
 public:
  no_more_memory() {
    ::getrlimit(RLIMIT_AS, &old_);
    const rlimit none{1, old_.rlim_max};
    ::setrlimit(RLIMIT_AS, &none);
  }
  no_more_memory(const no_more_memory&) = delete;
  no_more_memory& operator=(const no_more_memory&) = delete;
  ~no_more_memory() { ::setrlimit(RLIMIT_AS, &old_); }

 private:
  rlimit old_{};
};
