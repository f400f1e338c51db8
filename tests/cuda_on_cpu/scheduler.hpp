// Executes a grid on the CPU: one block after the other, the CUDA threads of a block as fibers of one system thread.
// Kernels use these functions through device.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime_api.h>
#include <functional>
#include <stdexcept>

namespace cuda_on_cpu {

/// The order of blocks, warps, lanes and streams wherever CUDA leaves it open. A kernel whose result depends on it
/// lacks a barrier. A new order holds for what is executed from now on, even if launched before.
enum class order { forward, reverse, random };
void set_order(order, std::uint64_t seed = 1);

/// When an asynchronous copy into shared memory lands: as late or as early as CUDA allows. `late` shows a missing wait,
/// `early` a buffer that is overwritten too soon.
enum class landing { late, early };
void set_landing(landing);

/// What a kernel does wrong, in words.
struct kernel_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Calls `thread` as every thread of the grid; throws kernel_error.
void run_grid(dim3 blocks, dim3 threads, std::size_t dynamic_shared_bytes, const std::function<void()>& thread);

/// The index of the next of `count`, in the order that is set.
std::size_t choose(std::size_t count);

inline constexpr int warp_size = 32;
/// As on small devices of compute capability 8: what fits there fits everywhere.
inline constexpr std::size_t most_shared_bytes = 99 * 1024, most_static_shared_bytes = 48 * 1024;
inline constexpr unsigned most_threads = 1024;

// What follows is called by kernels while run_grid executes them.

/// Where a kernel waits: all threads that meet must come from the same place. (clang 14 has no std::source_location.)
struct place {
  const char* file = "";
  int line = 0;
  static constexpr place current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// The barrier of a block: the number of threads, and for how many of them the predicate held.
struct barrier_result {
  int threads = 0, held = 0;
};
barrier_result wait_for_block(bool predicate, place);

/// The lanes of `mask` bring values. Each gets the value of lane `source`, or bytes 0xff where that lane is not there.
void exchange(unsigned mask, const void* value, void* result, std::size_t bytes, int source, const char* name, place);
/// Each lane gets the values of all 32 lanes.
void gather(unsigned mask, const void* value, void* results, std::size_t bytes, const char* name, place);
/// Each lane gets the set of lanes whose predicate held.
unsigned vote(unsigned mask, bool predicate, const char* name, place);
extern int current_lane;

/// The block's memory for the variable of `key`; starts as bytes 0xff, which are NaNs.
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment);
void* dynamic_shared();

/// A kernel reads or writes `bytes` at once: ends the launch unless `address` is a multiple of `bytes`.
void note_wide_access(const void* address, std::size_t bytes, place);

/// From now on counts where kernels read or write 16 of these bytes at once.
void watch_wide_accesses(const void* begin, std::size_t bytes);
std::size_t wide_accesses();

/// `copy` does an asynchronous copy. It belongs to the group that the next commit closes; waiting leaves the newest
/// `keep` groups in flight.
void start_copy(void* shared, const void* global, void (*copy)(void* shared, const void* global));
void commit_copies();
void wait_for_copies(int keep);

}  // namespace cuda_on_cpu
