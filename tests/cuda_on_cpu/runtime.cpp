// The part of the CUDA runtime that strata uses. NVIDIA's headers declare its functions, so the compiler compares them.
#include "cuda_on_cpu/runtime.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "cuda_on_cpu/memory.hpp"
#include "cuda_on_cpu/scheduler.hpp"

namespace cuda_on_cpu {

using work = std::function<void()>;

/// A point in the order of a stream: after its first `number` pieces of work.
struct moment {
  std::shared_ptr<CUstream_st> stream;
  std::uint64_t number = 0;
};
/// The kind of a graph node. An update replaces a node only by another of the same kind.
enum class kind { kernel, copy, set, other };
struct task {
  work run;
  std::vector<moment> after;
};

}  // namespace cuda_on_cpu

// The types behind the API's handles.
struct CUstream_st {
  bool blocking = true;  ///< waits for the null stream, and the null stream for it
  std::deque<cuda_on_cpu::task> waiting;
  std::uint64_t submitted = 0, done = 0;
  std::vector<cuda_on_cpu::moment> after;  ///< what the next piece of work has to wait for
  std::unique_ptr<CUgraph_st> capture;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  bool capture_is_invalid = false;
};
struct CUevent_st {
  cuda_on_cpu::moment recorded;
  std::chrono::steady_clock::time_point time;
  bool timed = true;
};
struct CUgraph_st {
  std::vector<cuda_on_cpu::work> nodes;
  std::vector<cuda_on_cpu::kind> kinds;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<cuda_on_cpu::work>> nodes;
  std::vector<cuda_on_cpu::kind> kinds;
};

namespace cuda_on_cpu {
namespace {

/// The objects behind one kind of handle.
template <class T>
class table {
 public:
  T* add(std::shared_ptr<T> own) {
    T* const handle = own.get();
    all_.emplace_back(std::move(own));
    return handle;
  }
  std::shared_ptr<T> find(const T* handle) const {
    for (const auto& each : all_)
      if (each.get() == handle) return each;
    return nullptr;
  }
  bool erase(const T* handle) {
    return std::erase_if(all_, [&](const auto& each) { return each.get() == handle; }) > 0;
  }
  const std::vector<std::shared_ptr<T>>& all() const { return all_; }
  void clear() { all_.clear(); }

 private:
  std::vector<std::shared_ptr<T>> all_;
};

/// Streams do nothing before somebody waits for them, and then no more than the wait needs. This shows where a program
/// forgets to wait, or one stream to wait for another.
struct runtime {
  device_memory memory;
  std::map<const void*, std::size_t> pinned;
  std::shared_ptr<CUstream_st> null_stream = std::make_shared<CUstream_st>();
  table<CUstream_st> streams;
  table<CUevent_st> events;
  table<CUgraph_st> graphs;
  table<CUgraphExec_st> executables;
  int device_count = 1, device = 0, capability = 8;
  bool refuses_memset = false;
  cudaError_t last = cudaSuccess;
  cudaError_t of_device = cudaSuccess;  ///< every call fails with it until cudaDeviceReset
  std::string message;
  host_calls calls;

  runtime() { streams.add(null_stream); }
  std::shared_ptr<CUstream_st> stream(cudaStream_t handle) const {
    return handle == nullptr || handle == cudaStreamLegacy ? null_stream : streams.find(handle);
  }
};

/// Never destroyed: static objects of a test may still free their memory.
runtime& own() {
  static runtime& only = *new runtime;
  return only;
}

cudaError_t report(cudaError_t error, const std::string& message) {
  own().message = message;
  std::fprintf(stderr, "CUDA on the CPU: %s\n", message.c_str());
  return error;
}
void break_device(cudaError_t error, const std::string& message) {
  if (own().of_device == cudaSuccess) own().of_device = report(error, message);
}
cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) own().last = error;
  return error;
}

/// What every function of the API does around its own work.
template <class Body>
cudaError_t call(Body body) {
  if (own().device_count == 0) return remember(cudaErrorNoDevice);
  if (own().of_device != cudaSuccess) return remember(own().of_device);
  const cudaError_t error = body();
  return remember(error != cudaSuccess ? error : own().of_device);
}

// Order ----------------------------------------------------------------------------------------------------------

void run_until(CUstream_st& stream, std::uint64_t number) {
  while (stream.done < number) {
    const task first = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    for (const moment& each : first.after) run_until(*each.stream, each.number);
    ++stream.done;
    if (own().of_device != cudaSuccess) continue;  // nothing runs on a broken device
    try {
      first.run();
    } catch (const kernel_error& error) {
      break_device(cudaErrorLaunchFailure, error.what());
    }
  }
}

void synchronize(CUstream_st& stream, std::uint64_t number) {
  if (stream.done >= number) return;
  const device_memory::open open(own().memory);
  run_until(stream, number);
  const std::string damage = own().memory.damage();
  if (!damage.empty()) break_device(cudaErrorIllegalAddress, damage);
}
void synchronize(CUstream_st& stream) { synchronize(stream, stream.submitted); }
void synchronize_device() {
  const device_memory::open open(own().memory);
  for (;;) {
    std::vector<CUstream_st*> busy;
    for (const auto& each : own().streams.all())
      if (!each->waiting.empty()) busy.push_back(each.get());
    if (busy.empty()) return;
    CUstream_st& stream = *busy[choose(busy.size())];
    synchronize(stream, stream.done + 1);
  }
}

moment now(const std::shared_ptr<CUstream_st>& stream) { return {stream, stream->submitted}; }

cudaError_t submit(const std::shared_ptr<CUstream_st>& stream, work run, kind of = kind::other) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture != nullptr) {
    stream->capture->nodes.push_back(std::move(run));
    stream->capture->kinds.push_back(of);
    return cudaSuccess;
  }
  task next{std::move(run), std::exchange(stream->after, {})};
  if (stream == own().null_stream) {
    for (const auto& each : own().streams.all())
      if (each->blocking && each != stream && !each->waiting.empty()) next.after.push_back(now(each));
  } else if (stream->blocking && !own().null_stream->waiting.empty()) {
    next.after.push_back(now(own().null_stream));
  }
  stream->waiting.push_back(std::move(next));
  ++stream->submitted;
  return cudaSuccess;
}

/// Calls that wait, allocate or use the null stream cannot be part of a graph: they end its capture.
cudaError_t refuse_in_capture(const char* what) {
  for (const auto& each : own().streams.all())
    if (each->capture != nullptr && each->capture_mode != cudaStreamCaptureModeRelaxed) {
      each->capture_is_invalid = true;
      return report(cudaErrorStreamCaptureUnsupported, std::string(what) + " is called while a graph is captured");
    }
  return cudaSuccess;
}
template <class Body>
cudaError_t call_outside_capture(const char* what, Body body) {
  return call([&] {
    const cudaError_t refused = refuse_in_capture(what);
    return refused != cudaSuccess ? refused : body();
  });
}

// Copies ---------------------------------------------------------------------------------------------------------

bool is_pinned(const void* begin) {
  const auto found = own().pinned.upper_bound(begin);
  if (found == own().pinned.begin()) return false;
  const auto& [first, bytes] = *std::prev(found);
  return begin < static_cast<const char*>(first) + bytes;
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                 const std::shared_ptr<CUstream_st>& stream) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (bytes == 0) return cudaSuccess;
  const device_memory& memory = own().memory;
  const bool to_device = memory.is_device(to), from_device = memory.is_device(from);
  const cudaMemcpyKind true_kind = to_device ? (from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                                             : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  if (kind != cudaMemcpyDefault && kind != true_kind)
    return report(cudaErrorInvalidValue, "a copy's kind does not say where its two arrays lie");
  if ((to_device && !memory.is_allocated(to, bytes)) || (from_device && !memory.is_allocated(from, bytes)))
    return report(cudaErrorInvalidValue,
                  "a copy of " + std::to_string(bytes) + " bytes goes beyond an allocation of device memory");
  // A graph reads host memory at each launch. A stream reads it during the call, unless it is pinned.
  if (!from_device && stream->capture == nullptr && !is_pinned(from)) {
    const auto* const begin = static_cast<const unsigned char*>(from);
    return submit(
        stream,
        [to, kept = std::vector<unsigned char>(begin, begin + bytes)] { std::memcpy(to, kept.data(), kept.size()); },
        kind::copy);
  }
  return submit(
      stream, [to, from, bytes] { std::memmove(to, from, bytes); }, kind::copy);
}

cudaError_t set(void* begin, int value, std::size_t bytes, const std::shared_ptr<CUstream_st>& stream) {
  if (bytes == 0) return cudaSuccess;
  if (!own().memory.is_allocated(begin, bytes))
    return report(cudaErrorInvalidValue,
                  "cudaMemset of " + std::to_string(bytes) + " bytes goes beyond an allocation of device memory");
  return submit(
      stream, [begin, value, bytes] { std::memset(begin, value, bytes); }, kind::set);
}

// Names ----------------------------------------------------------------------------------------------------------

struct error_text {
  cudaError_t error;
  const char *name, *text;
};
constexpr error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorGraphExecUpdateFailure, "cudaErrorGraphExecUpdateFailure",
     "the graph update was not performed because it included changes which violated constraints specific to "
     "instantiated graph update"},
};
error_text describe(cudaError_t error) {
  for (const error_text& each : error_texts)
    if (each.error == error) return each;
  return {error, "cudaErrorUnknown", "an error that CUDA on the CPU has no words for"};
}

int attribute(cudaDeviceAttr asked, bool& known) {
  known = true;
  switch (asked) {
    case cudaDevAttrComputeCapabilityMajor:
      return own().capability;
    case cudaDevAttrComputeCapabilityMinor:
      return 6;
    case cudaDevAttrMultiProcessorCount:
      return 4;
    case cudaDevAttrWarpSize:
      return warp_size;
    case cudaDevAttrMaxThreadsPerBlock:
      return static_cast<int>(most_threads);
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return 1536;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return static_cast<int>(most_static_shared_bytes);
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return static_cast<int>(most_shared_bytes);
    case cudaDevAttrMaxGridDimX:
      return 2147483647;
    case cudaDevAttrMaxGridDimY:
      return 65535;
    case cudaDevAttrMaxGridDimZ:
      return 65535;
    case cudaDevAttrMemoryPoolsSupported:
      return 1;
    default:
      known = false;
      return 0;
  }
}

}  // namespace

// For tests and for the launch -----------------------------------------------------------------------------------

std::string last_message() { return own().message; }
void set_device_count(int count) { own().device_count = count; }
void set_compute_capability(int major) { own().capability = major; }
void set_memory_limit(std::size_t bytes) { own().memory.limit = bytes; }
void refuse_next_memset() { own().refuses_memset = true; }
std::size_t live_allocations() { return own().memory.count(); }
std::size_t live_handles() {
  const runtime& now = own();  // the null stream always exists
  return now.pinned.size() + now.streams.all().size() - 1 + now.events.all().size() + now.graphs.all().size() +
         now.executables.all().size();
}
host_calls counted_calls() { return own().calls; }

cudaError_t enqueue(cudaStream_t stream, std::function<void()> run) {
  return call([&] { return submit(own().stream(stream), std::move(run)); });
}

void launch(dim3 blocks, dim3 threads, std::size_t dynamic_shared_bytes, cudaStream_t stream,
            std::function<void()> thread) {
  call([&] {
    const auto size = [](const dim3& count_of) {
      return std::to_string(count_of.x) + " x " + std::to_string(count_of.y) + " x " + std::to_string(count_of.z);
    };
    const std::uint64_t count = std::uint64_t{threads.x} * threads.y * threads.z;
    if (count == 0 || count > most_threads || threads.x > most_threads || threads.y > most_threads || threads.z > 64)
      return report(cudaErrorInvalidConfiguration, "a kernel is launched with blocks of " + size(threads) + " threads");
    if (blocks.x == 0 || blocks.x > 2147483647 || blocks.y == 0 || blocks.y > 65535 || blocks.z == 0 ||
        blocks.z > 65535)
      return report(cudaErrorInvalidConfiguration, "a kernel is launched with a grid of " + size(blocks) + " blocks");
    if (dynamic_shared_bytes > most_shared_bytes)
      return report(cudaErrorInvalidValue, "a kernel is launched with " + std::to_string(dynamic_shared_bytes) +
                                               " bytes of dynamic shared memory");
    ++own().calls.launches;
    return submit(
        own().stream(stream),
        [blocks, threads, dynamic_shared_bytes, thread = std::move(thread)] {
          run_grid(blocks, threads, dynamic_shared_bytes, thread);
        },
        kind::kernel);
  });
}

void require_allocated(const void* begin, std::size_t bytes, const char* what) {
  if (bytes > 0 && !own().memory.is_allocated(begin, bytes))
    throw kernel_error(std::string(what) + " of " + std::to_string(bytes) +
                       " bytes does not lie in an allocation of device memory");
}

}  // namespace cuda_on_cpu

// The API --------------------------------------------------------------------------------------------------------

using namespace cuda_on_cpu;

extern "C" {

// Errors

cudaError_t cudaGetLastError() {
  const cudaError_t error = std::exchange(own().last, cudaSuccess);
  return error != cudaSuccess ? error : own().of_device;
}
cudaError_t cudaPeekAtLastError() { return own().last != cudaSuccess ? own().last : own().of_device; }
const char* cudaGetErrorName(cudaError_t error) { return describe(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return describe(error).text; }

// Devices

cudaError_t cudaGetDeviceCount(int* count) {
  *count = own().device_count;
  return *count == 0 ? remember(cudaErrorNoDevice) : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  return call([&] {
    *device = own().device;
    return cudaSuccess;
  });
}
cudaError_t cudaSetDevice(int device) {
  return call([&] {
    if (device < 0 || device >= own().device_count) return cudaErrorInvalidDevice;
    own().device = device;
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr asked, int device) {
  return call([&] {
    if (device < 0 || device >= own().device_count) return cudaErrorInvalidDevice;
    bool known = false;
    *value = attribute(asked, known);
    return known ? cudaSuccess
                 : report(cudaErrorInvalidValue, "device attribute " + std::to_string(asked) + " is not known here");
  });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call([&] {
    if (device < 0 || device >= own().device_count) return cudaErrorInvalidDevice;
    const auto value = [](cudaDeviceAttr asked) {
      bool known = false;
      return attribute(asked, known);
    };
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "CUDA on the CPU");
    properties->totalGlobalMem = own().memory.limit;
    properties->major = value(cudaDevAttrComputeCapabilityMajor);
    properties->minor = value(cudaDevAttrComputeCapabilityMinor);
    properties->multiProcessorCount = value(cudaDevAttrMultiProcessorCount);
    properties->warpSize = value(cudaDevAttrWarpSize);
    properties->maxThreadsPerBlock = value(cudaDevAttrMaxThreadsPerBlock);
    properties->maxThreadsPerMultiProcessor = value(cudaDevAttrMaxThreadsPerMultiProcessor);
    properties->sharedMemPerBlock = most_static_shared_bytes;
    properties->sharedMemPerBlockOptin = most_shared_bytes;
    properties->memoryPoolsSupported = value(cudaDevAttrMemoryPoolsSupported);
    return cudaSuccess;
  });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }
cudaError_t cudaDeviceSynchronize() {
  return call_outside_capture("cudaDeviceSynchronize", [] {
    ++own().calls.waits;
    synchronize_device();
    return cudaSuccess;
  });
}
cudaError_t cudaDeviceReset() {
  runtime& all = own();
  all.executables.clear();
  all.graphs.clear();
  all.events.clear();
  for (const auto& each : all.streams.all()) each->waiting.clear();  // a stream and its work hold each other
  all.streams.clear();
  all.null_stream = std::make_shared<CUstream_st>();
  all.streams.add(all.null_stream);
  all.memory.free_all();
  all.device = 0;
  all.last = all.of_device = cudaSuccess;
  all.message.clear();
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute asked, int value) {
  return call([&] {
    const bool fits = asked != cudaFuncAttributeMaxDynamicSharedMemorySize ||
                      (value >= 0 && static_cast<std::size_t>(value) <= most_shared_bytes);
    return fits ? cudaSuccess : cudaErrorInvalidValue;
  });
}

// Memory

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return call_outside_capture("cudaMalloc", [&] {
    ++own().calls.allocations;
    *memory = bytes == 0 ? nullptr : own().memory.allocate(bytes);
    return bytes == 0 || *memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}
cudaError_t cudaFree(void* memory) {
  return call_outside_capture("cudaFree", [&] {
    ++own().calls.allocations;
    synchronize_device();
    const bool freed = memory == nullptr || own().memory.free(memory);
    return freed ? cudaSuccess : report(cudaErrorInvalidValue, "cudaFree of what is not allocated");
  });
}
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t) { return cudaMalloc(memory, bytes); }
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return call([&] {
    if (memory == nullptr) return cudaSuccess;
    ++own().calls.allocations;
    if (!own().memory.is_allocated(memory, 0))
      return report(cudaErrorInvalidValue, "cudaFreeAsync of what is not allocated");
    return submit(own().stream(stream), [memory] {
      if (!own().memory.free(memory)) throw kernel_error("cudaFreeAsync of what was freed before");
    });
  });
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return call_outside_capture("cudaMallocHost", [&] {
    ++own().calls.allocations;
    if (posix_memalign(memory, 4096, bytes) != 0) return cudaErrorMemoryAllocation;
    own().pinned[*memory] = bytes;
    return cudaSuccess;
  });
}
cudaError_t cudaFreeHost(void* memory) {
  return call_outside_capture("cudaFreeHost", [&] {
    ++own().calls.allocations;
    synchronize_device();
    if (memory != nullptr && own().pinned.erase(memory) == 0)
      return report(cudaErrorInvalidValue, "cudaFreeHost of what is not allocated");
    std::free(memory);
    return cudaSuccess;
  });
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  return call([&] {
    *total = own().memory.limit;
    *free = *total - std::min(*total, own().memory.used());
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&] { return copy(to, from, bytes, kind, own().stream(stream)); });
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call_outside_capture("cudaMemcpy", [&] {
    const cudaError_t error = copy(to, from, bytes, kind, own().null_stream);
    const bool waits = !(own().memory.is_device(to) && own().memory.is_device(from));
    own().calls.waits += waits;
    if (error == cudaSuccess && waits) synchronize(*own().null_stream);
    return error;
  });
}
cudaError_t cudaMemsetAsync(void* begin, int value, std::size_t bytes, cudaStream_t stream) {
  return call([&] {
    if (std::exchange(own().refuses_memset, false))
      return report(cudaErrorInvalidValue, "cudaMemsetAsync was told to fail");
    return set(begin, value, bytes, own().stream(stream));
  });
}
cudaError_t cudaMemset(void* begin, int value, std::size_t bytes) {
  return call_outside_capture("cudaMemset", [&] { return set(begin, value, bytes, own().null_stream); });
}
// Allocations are made and freed as without pools.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }

// Streams

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([&] {
    *stream = own().streams.add(std::make_shared<CUstream_st>());
    (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&] {
    if (stream == nullptr || own().streams.find(stream) == nullptr) return cudaErrorInvalidResourceHandle;
    synchronize(*stream);
    own().streams.erase(stream);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call_outside_capture("cudaStreamSynchronize", [&] {
    ++own().calls.waits;
    const auto found = own().stream(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    // Waiting for the null stream waits for everything that it waits for.
    if (found == own().null_stream) submit(found, [] {});
    synchronize(*found);
    return cudaSuccess;
  });
}
/// Runs one piece of work, so that a loop of queries ends.
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call_outside_capture("cudaStreamQuery", [&] {
    const auto found = own().stream(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->waiting.empty()) return cudaSuccess;
    synchronize(*found, found->done + 1);
    return cudaErrorNotReady;
  });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  return call([&] {
    const auto found = own().stream(stream);
    const auto awaited = own().events.find(event);
    if (found == nullptr || awaited == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->capture != nullptr)
      return report(cudaErrorNotSupported, "CUDA on the CPU captures graphs of one stream, without events");
    if (awaited->recorded.stream != nullptr) found->after.push_back(awaited->recorded);
    return cudaSuccess;
  });
}

// Events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&] {
    *event = own().events.add(std::make_shared<CUevent_st>());
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&] { return own().events.erase(event) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&] {
    const auto found = own().stream(stream);
    const auto recorded = own().events.find(event);
    if (found == nullptr || recorded == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->capture != nullptr)
      return report(cudaErrorNotSupported, "CUDA on the CPU captures graphs of one stream, without events");
    const cudaError_t error = submit(found, [recorded] { recorded->time = std::chrono::steady_clock::now(); });
    recorded->recorded = now(found);
    return error;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call_outside_capture("cudaEventSynchronize", [&] {
    const auto found = own().events.find(event);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found->recorded.stream != nullptr) synchronize(*found->recorded.stream, found->recorded.number);
    return cudaSuccess;
  });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call_outside_capture("cudaEventQuery", [&] {
    const auto found = own().events.find(event);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    const moment& at = found->recorded;
    if (at.stream == nullptr || at.stream->done >= at.number) return cudaSuccess;
    synchronize(*at.stream, at.stream->done + 1);
    return cudaErrorNotReady;
  });
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return call([&] {
    const auto first = own().events.find(begin), last = own().events.find(end);
    if (first == nullptr || last == nullptr || !first->timed || !last->timed) return cudaErrorInvalidResourceHandle;
    for (const auto& each : {first, last}) {
      if (each->recorded.stream == nullptr) return cudaErrorInvalidResourceHandle;
      if (each->recorded.stream->done < each->recorded.number) return cudaErrorNotReady;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(last->time - first->time).count();
    return cudaSuccess;
  });
}

// Graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call([&] {
    const auto found = own().stream(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    if (found == own().null_stream) return cudaErrorStreamCaptureUnsupported;
    if (found->capture != nullptr) return cudaErrorIllegalState;
    found->capture = std::make_unique<CUgraph_st>();
    found->capture_mode = mode;
    found->capture_is_invalid = false;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  return call([&] {
    const auto found = own().stream(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    std::shared_ptr<CUgraph_st> captured = std::move(found->capture);
    if (captured == nullptr) return cudaErrorIllegalState;
    if (found->capture_is_invalid) return cudaErrorStreamCaptureInvalidated;
    *graph = own().graphs.add(std::move(captured));
    return cudaSuccess;
  });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call([&] {
    const auto found = own().stream(stream);
    if (found == nullptr) return cudaErrorInvalidResourceHandle;
    *status = found->capture == nullptr   ? cudaStreamCaptureStatusNone
              : found->capture_is_invalid ? cudaStreamCaptureStatusInvalidated
                                          : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call([&] {
    if (own().graphs.find(graph) == nullptr) return cudaErrorInvalidValue;
    *executable = own().executables.add(std::make_shared<CUgraphExec_st>());
    (*executable)->nodes = std::make_shared<const std::vector<work>>(graph->nodes);
    (*executable)->kinds = graph->kinds;
    return cudaSuccess;
  });
}
/// As documented: kernels may become others, copies may have other arguments, the order may not change.
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  return call([&] {
    if (own().executables.find(executable) == nullptr || own().graphs.find(graph) == nullptr)
      return cudaErrorInvalidValue;
    *result = {};
    if (executable->kinds != graph->kinds) {
      result->result = executable->kinds.size() == graph->kinds.size() ? cudaGraphExecUpdateErrorNodeTypeChanged
                                                                       : cudaGraphExecUpdateErrorTopologyChanged;
      return cudaErrorGraphExecUpdateFailure;
    }
    executable->nodes = std::make_shared<const std::vector<work>>(graph->nodes);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call([&] {
    if (own().executables.find(executable) == nullptr) return cudaErrorInvalidResourceHandle;
    ++own().calls.graph_launches;
    return submit(own().stream(stream), [nodes = executable->nodes] {
      for (const work& each : *nodes) each();
    });
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([&] { return own().graphs.erase(graph) ? cudaSuccess : cudaErrorInvalidValue; });
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call([&] { return own().executables.erase(executable) ? cudaSuccess : cudaErrorInvalidValue; });
}

}  // extern "C"
