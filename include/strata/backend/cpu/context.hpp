// The cpu backend: its threads, its provider of matrix products and the memory that its operations share.
// Shapes: backend/backend.hpp.
// Source: docs/design.md.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include <strata/backend/backend.hpp>
#include <strata/backend/cpu/instruction_sets.hpp>
#include <strata/backend/cpu/thread_pool.hpp>
#include <strata/core/buffer.hpp>
#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

class onednn_products;

/// What computes matrix products. `automatic`: oneDNN if the program was built with it, else strata's own kernels.
enum class matrix_products { automatic, own, onednn };

/// Precision of the inputs of matrix products with more than a few rows; sums are always in float. `bfloat16` rounds
/// both inputs to nearest. It needs oneDNN and a processor with such instructions; else it is `float32`, and
/// `cpu::message()` says so. `bfloat16_emulated` computes the same numbers on any processor, slowly.
enum class product_precision { float32, bfloat16, bfloat16_emulated };

struct cpu_options {
  int threads = 0;  ///< 0: one for each of available_processors()
  matrix_products products = matrix_products::automatic;
  instruction_set instructions = instruction_set::automatic;  ///< of all but oneDNN
  product_precision precision = product_precision::float32;
};

/// It has its own threads and serves one thread at a time. It refuses a second thread, calls from its own parallel
/// regions and, with more than one thread, calls from a forked process. Different thread counts agree to rounding, the
/// same count to the bit.
class cpu {
 public:
  using scalar = float;
  template <class T>
  using storage = buffer<T>;

  explicit cpu(cpu_options options = {});

  int threads() const { return pool_.threads(); }
  thread_pool& pool() { return pool_; }
  instruction_set instructions() const { return instructions_; }
  product_precision precision() const { return precision_; }
  /// Requests that could not be met, in sentences, or empty.
  const std::string& message() const { return message_; }
  /// Null where strata's own kernels compute matrix products.
  onednn_products* onednn() { return onednn_.get(); }

  /// Every operation that uses the memory below has an `exclusive_use`.
  bool enter() { return pool_.enter(); }
  void leave() { pool_.leave(); }

  /// Cuts [0, count) into one piece a thread, at multiples of `grain`, and calls `body(begin, end)` on each. If the
  /// work (`cost` operations an item) is too small to wake threads, the caller does it alone.
  template <class Body>
  void parallel(index_type count, index_type cost, Body body, index_type grain = 1) {
    run(count > grain ? pieces(count, cost) : 1, [&](int thread, int of) {
      const auto [begin, end] = piece(count, grain, thread, of);
      if (begin < end) body(begin, end);
    });
  }
  /// As `parallel`, with the thread's number: body(thread, begin, end). A piece may be empty.
  template <class Body>
  void parallel_numbered(index_type count, index_type cost, Body body, index_type grain = 1) {
    run(pieces(count, cost), [&](int thread, int of) {
      const auto [begin, end] = piece(count, grain, thread, of);
      body(thread, begin, end);
    });
  }
  /// Piece number `thread` of [0, count), cut into `of` pieces at multiples of `grain`: its begin and its end.
  static std::pair<index_type, index_type> piece(index_type count, index_type grain, int thread, int of) {
    const index_type grains = (count + grain - 1) / grain;
    return {std::min(count, grains * thread / of * grain), std::min(count, grains * (thread + 1) / of * grain)};
  }
  /// The number of pieces of `parallel` and `parallel_numbered`.
  int pieces(index_type count, index_type cost) const {
    // Their product may be too large for a number.
    return cost <= 0 || count <= (smallest_parallel_cost - 1) / cost ? 1 : threads();
  }

  /// At least `count` floats of memory for thread `thread`, valid until the next call for it.
  float* thread_memory(int thread, index_type count) {
    return grown(thread_memory_[static_cast<std::size_t>(thread)], count);
  }
  /// The same memory cut into consecutive pieces of these sizes.
  template <std::size_t Count>
  std::array<float*, Count> thread_pieces(int thread, const std::array<index_type, Count>& sizes) {
    std::array<float*, Count> pieces{};
    float* next = thread_memory(thread, std::accumulate(sizes.begin(), sizes.end(), index_type{0}));
    for (std::size_t n = 0; n < Count; next += sizes[n++]) pieces[n] = next;
    return pieces;
  }
  /// Memory for one operation, shared by all threads, valid until the next call.
  float* shared_memory(index_type count) { return grown(shared_memory_, count); }
  /// The same for unpacked weights: their matrix product uses `shared_memory` itself.
  float* weight_memory(index_type count) { return grown(weight_memory_, count); }

 private:
  static constexpr index_type smallest_parallel_cost = 32768;

  void say(const std::string& sentence) { message_ += (message_.empty() ? "" : "; ") + sentence; }

  static int resolved_threads(const cpu_options& options) {
    require(options.threads >= 0, "threads must be 0 (one a processor) or positive, not ", options.threads);
    return options.threads > 0 ? options.threads : available_processors();
  }

  /// Calls `task(thread, of)` on one thread or on all.
  template <class Task>
  void run(int of, Task task) {
    run(
        of, [](void* object, int thread, int count) { (*static_cast<Task*>(object))(thread, count); }, &task);
  }
  void run(int of, void (*task)(void*, int, int), void* object) {
    try {
      if (of > 1) return pool_.run([&](int thread) { task(object, thread, of); });
      const thread_pool::region alone(pool_);
      task(object, 0, 1);
    } catch (const std::bad_alloc&) {
      fail("the cpu backend needs more memory for an operation than there is");
    }
  }
  static float* grown(buffer<float>& memory, index_type count) {
    if (memory.size() < count) memory = buffer<float>(count);
    return memory.data();
  }

  instruction_set instructions_;
  product_precision precision_;
  std::string message_;
  thread_pool pool_;
  std::vector<buffer<float>> thread_memory_;
  buffer<float> shared_memory_, weight_memory_;
  std::shared_ptr<onednn_products> onednn_;
};

}  // namespace strata
