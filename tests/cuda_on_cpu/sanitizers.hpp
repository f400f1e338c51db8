// What the address and the thread sanitizer must know about fibers and memory; nothing where neither is on.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define CUDA_ON_CPU_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CUDA_ON_CPU_ADDRESS_SANITIZER
#endif
#endif

#if defined(CUDA_ON_CPU_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
// Defined by the build: the scheduler itself is compiled without -fsanitize=thread.
#if defined(CUDA_ON_CPU_THREAD_SANITIZER)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace cuda_on_cpu::sanitizers {

#if defined(CUDA_ON_CPU_ADDRESS_SANITIZER)
inline constexpr bool address = true;
inline void poison(const void* begin, std::size_t bytes) { ASAN_POISON_MEMORY_REGION(begin, bytes); }
inline void unpoison(const void* begin, std::size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(begin, bytes); }
/// Around a switch from one stack to another: `kept` belongs to the stack that is left.
inline void before_switch(void*& kept, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(&kept, stack, bytes);
}
inline void after_switch(void* kept) { __sanitizer_finish_switch_fiber(kept, nullptr, nullptr); }
#else
inline constexpr bool address = false;
inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}
inline void before_switch(void*&, const void*, std::size_t) {}
inline void after_switch(void*) {}
#endif

#if defined(CUDA_ON_CPU_THREAD_SANITIZER)
inline constexpr bool thread = true;
inline void* current_fiber() { return __tsan_get_current_fiber(); }
inline void* new_fiber() { return __tsan_create_fiber(0); }
/// A switch by itself orders nothing: a thread comes after another only by acquiring what the other released.
inline void switch_to(void* fiber) {
  constexpr unsigned no_order = 1;
  __tsan_switch_to_fiber(fiber, no_order);
}
inline void acquire(void* at) { __tsan_acquire(at); }
inline void release(void* at) { __tsan_release(at); }
/// While it lives, library functions that the scheduler calls do not count as accesses of the kernel.
struct unseen {
  unseen() {
    AnnotateIgnoreReadsBegin("", 0);
    AnnotateIgnoreWritesBegin("", 0);
  }
  unseen(const unseen&) = delete;
  unseen& operator=(const unseen&) = delete;
  ~unseen() {
    AnnotateIgnoreWritesEnd("", 0);
    AnnotateIgnoreReadsEnd("", 0);
  }
};
#else
inline constexpr bool thread = false;
inline void* current_fiber() { return nullptr; }
inline void* new_fiber() { return nullptr; }
inline void switch_to(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
struct unseen {
  unseen() {}  // not trivial, so that it is not an unused variable
};
#endif

}  // namespace cuda_on_cpu::sanitizers
