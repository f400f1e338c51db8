// Records work as a CUDA graph, which the host launches in one call; and names phases for NVIDIA's profilers.
// Source: CUDA Programming Guide, "CUDA Graphs"; NVTX 3.
#pragma once

#include <nvtx3/nvToolsExt.h>
#include <optional>
#include <utility>

#include <strata/backend/cuda/context.hpp>
#include <strata/backend/recording.hpp>

namespace strata::inline STRATA_ABI {

template <>
inline constexpr bool computes_at_once<cuda> = false;

template <>
struct phase<cuda> {
  phase(const cuda& /*backend*/, const char* name) { nvtxRangePushA(name); }
  phase(const phase&) = delete;
  phase& operator=(const phase&) = delete;
  ~phase() { nvtxRangePop(); }
};

/// The first run executes the body: operations choose algorithms and allocate scratch memory, which a graph cannot. The
/// second run captures it. After that an equal key launches the same graph; another key captures again and updates its
/// arguments.
template <class Key>
class recording<cuda, Key> {
 public:
  recording() = default;
  recording(recording&& other) noexcept
      : key_(std::exchange(other.key_, {})),
        memory_(other.memory_),
        has_run_(other.has_run_),
        executable_(std::exchange(other.executable_, nullptr)) {}
  recording& operator=(recording&& other) noexcept {
    std::swap(key_, other.key_);
    std::swap(memory_, other.memory_);
    std::swap(has_run_, other.has_run_);
    std::swap(executable_, other.executable_);
    return *this;
  }
  ~recording() { clear(); }

  template <class Body>
  void run(cuda& backend, const Key& key, Body body) {
    if (!(key_ == key && memory_ == backend.scratch_changes()) && !(has_run_ && record(backend, key, body))) {
      body();
      has_run_ = true;
      return;
    }
    STRATA_CUDA(cudaGraphLaunch(executable_, backend.stream()));
  }
  void clear() {
    forget();
    has_run_ = false;
  }

 private:
  void forget() {
    key_.reset();
    if (executable_ != nullptr) cudaGraphExecDestroy(std::exchange(executable_, nullptr));
  }

  /// False if a graph cannot hold the body, for example because it allocates.
  template <class Body>
  bool record(cuda& backend, const Key& key, Body& body) {
    key_.reset();
    STRATA_CUDA(cudaStreamBeginCapture(backend.stream(), cudaStreamCaptureModeThreadLocal));
    bool whole = true;
    try {
      body();
    } catch (...) {  // the body then runs without a graph, and throws again if capture was not the reason
      whole = false;
    }
    struct graph_owner {
      cudaGraph_t own = nullptr;
      ~graph_owner() {
        if (own != nullptr) cudaGraphDestroy(own);
      }
    } graph;
    if (cudaStreamEndCapture(backend.stream(), &graph.own) != cudaSuccess || !whole) {
      static_cast<void>(cudaGetLastError());
      return false;
    }
    cudaGraphExecUpdateResultInfo difference{};
    if (executable_ != nullptr && cudaGraphExecUpdate(executable_, graph.own, &difference) != cudaSuccess) {
      static_cast<void>(cudaGetLastError());  // other operations than before: a new graph
      forget();
    }
    if (executable_ == nullptr) STRATA_CUDA(cudaGraphInstantiate(&executable_, graph.own, 0));
    key_ = key;
    memory_ = backend.scratch_changes();
    return true;
  }

  std::optional<Key> key_;  ///< of the recorded work
  index_type memory_ = 0;   ///< scratch_changes() of the recording
  bool has_run_ = false;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace strata
