// CUDA on the CPU does what CUDA does, and finds the faults planted here. faults.cpp has those for sanitizers.
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <cublasLt.h>
#include <limits>
#include <numeric>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "cuda_on_cpu/device.hpp"
#include "cuda_on_cpu/sanitizers.hpp"
#include "cuda_on_cpu/tensor_cores.hpp"
#include "support/catch.hpp"

using Catch::Matchers::ContainsSubstring;
using cuda_on_cpu::last_message, cuda_on_cpu::order, cuda_on_cpu::set_order;
using strata::device::start_kernel;

namespace {

constexpr unsigned all_lanes = 0xffffffffu;

/// The device as a new program finds it, whatever the test before did.
class fresh_device {
 public:
  fresh_device() { reset(); }
  fresh_device(const fresh_device&) = delete;
  fresh_device& operator=(const fresh_device&) = delete;
  ~fresh_device() { reset(); }

 protected:
  template <class T = float>
  T* allocate(std::size_t count) {
    void* memory = nullptr;
    REQUIRE(cudaMalloc(&memory, count * sizeof(T)) == cudaSuccess);
    return static_cast<T*>(memory);
  }
  template <class T>
  T* upload(const std::vector<T>& host) {
    T* const device = allocate<T>(host.size());
    REQUIRE(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
    return device;
  }
  template <class T>
  std::vector<T> download(const T* device, std::size_t count) {
    std::vector<T> host(count);
    REQUIRE(cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return host;
  }
  cudaStream_t stream(unsigned flags = cudaStreamNonBlocking) {
    cudaStream_t made = nullptr;
    REQUIRE(cudaStreamCreateWithFlags(&made, flags) == cudaSuccess);
    return made;
  }
  cudaEvent_t event() {
    cudaEvent_t made = nullptr;
    REQUIRE(cudaEventCreate(&made) == cudaSuccess);
    return made;
  }
  /// The error of the device after it has run the kernel.
  template <class... Parameters>
  cudaError_t run(void (*kernel)(Parameters...), dim3 blocks, dim3 threads,
                  std::type_identity_t<Parameters>... arguments) {
    start_kernel(kernel, blocks, threads, 0, nullptr, arguments...);
    return cudaDeviceSynchronize();
  }

 private:
  static void reset() {
    cuda_on_cpu::set_device_count(1);
    cuda_on_cpu::set_memory_limit(std::size_t{1} << 30);
    set_order(order::forward);
    cuda_on_cpu::set_landing(cuda_on_cpu::landing::late);
    cudaDeviceReset();
  }
};

template <class Action>
void on_every_order(Action action) {
  const auto in_order = [&](order own, std::uint64_t seed) {
    CAPTURE(static_cast<int>(own), seed);
    set_order(own, seed);
    action();
  };
  in_order(order::forward, 1);
  in_order(order::reverse, 1);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) in_order(order::random, seed);
}

// Kernels --------------------------------------------------------------------------------------------------------

__device__ __forceinline__ unsigned thread_in_block() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ unsigned threads_in_block() { return blockDim.x * blockDim.y * blockDim.z; }

/// Every thread writes its number.
__global__ void say_where(unsigned* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  y[block * threads_in_block() + thread_in_block()] = block * 1000 + thread_in_block();
}

__global__ void set_value(float* y, float value) { y[threadIdx.x] = value; }
__global__ void copy_values(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
__global__ void add_one(float* y) { y[threadIdx.x] += 1; }

/// Threads from `returning` on return before the barriers.
__global__ void count_at_barriers(int* y, int returning) {
  const int n = static_cast<int>(threadIdx.x);
  if (n >= returning) return;
  const int third = __syncthreads_count(n % 3 == 0);
  const int any = __syncthreads_or(n == 7), none = __syncthreads_or(0);
  const int all = __syncthreads_and(1), not_all = __syncthreads_and(n != 7);
  if (n > 0) return;
  y[0] = third;
  y[1] = any;
  y[2] = none;
  y[3] = all;
  y[4] = not_all;
}

__global__ void shuffle_all(float* y, int width) {
  const int lane = static_cast<int>(threadIdx.x);
  const float own = static_cast<float>(lane);
  y[lane] = __shfl_sync(all_lanes, own, lane * 7 + 3, width);
  y[32 + lane] = __shfl_up_sync(all_lanes, own, 3, width);
  y[64 + lane] = __shfl_down_sync(all_lanes, own, 5, width);
  y[96 + lane] = __shfl_xor_sync(all_lanes, own, 9, width);
}

/// The two halves of a warp diverge; each votes with its own mask.
__global__ void vote_by_halves(unsigned* y) {
  const unsigned lane = threadIdx.x;
  unsigned seen = 0;
  if (lane < 16) {
    seen = __ballot_sync(0x0000ffffu, lane % 2 == 0);
  } else {
    seen = __ballot_sync(0xffff0000u, lane % 4 == 0);
    __syncwarp(0xffff0000u);
  }
  __syncwarp();
  const bool any = __any_sync(all_lanes, lane == 9) != 0, all = __all_sync(all_lanes, lane != 9) != 0;
  y[lane] = seen + (any ? 1u : 0u) + (all ? 2u : 0u);
}

/// Reads 8 lanes ahead among 16 lanes: half of them from lanes that do not take part.
__global__ void shuffle_from_nobody(float* y) {
  const float own = static_cast<float>(threadIdx.x);
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, own, 8);
}

template <int Count>
__global__ void fill_shared(float* y) {
  STRATA_SHARED(values, float[Count]);
  STRATA_DYNAMIC_SHARED(float, more);
  const int n = static_cast<int>(threadIdx.x);
  const bool is_fresh = std::isnan(values[n]) && std::isnan(more[n]);
  values[n] = 2;
  more[n] = 1;
  __syncthreads();
  y[blockIdx.x * Count + threadIdx.x] = is_fresh ? values[Count - 1 - n] + more[Count - 1 - n] : -1.f;
}

__global__ void use_much_shared(float* y) {
  STRATA_SHARED(values, float[8192]);
  STRATA_SHARED(more, float[8192]);
  values[0] = more[0] = 1;
  y[0] = values[0] + more[0];
}

/// The order in which the threads run.
__global__ void take_tickets(unsigned* next, unsigned* y) { y[atomicAdd(next, 1u)] = blockIdx.x * 64 + threadIdx.x; }

__global__ void change_atomically(int* y) {
  const int n = static_cast<int>(threadIdx.x);
  atomicAdd(&y[0], n);
  atomicMax(&y[1], n);
  atomicMin(&y[2], n);
  atomicExch(&y[3], n);
  atomicCAS(&y[4], n, n + 1);
}

__global__ void compute(float* y) {
  const float nan = __uint_as_float(0x7fc00000u);
  y[0] = min(nan, 1.f);
  y[1] = max(2.f, nan);
  y[2] = static_cast<float>(min(3, -4));
  y[3] = rsqrtf(4.f);
  y[4] = __expf(0.f) + __logf(1.f) + __fdividef(1.f, 4.f);
  y[5] = static_cast<float>(__popc(0xf0u) + __clz(1) + __ffs(8));
  y[6] = static_cast<float>(__umulhi(0x80000000u, 6u));
  y[7] = __int_as_float(__float_as_int(5.f)) + __ldg(&y[3]);
}

/// y[16,8] = a[16,16] b[8,16]^T of bfloat16, by one warp.
__global__ void multiply_by_tensor_core(const std::uint16_t* a, const std::uint16_t* b, float* y, float* same) {
  using namespace strata::device;
  STRATA_SHARED(tile, uint4[24][2]);
  const unsigned lane = threadIdx.x;
  cp_async16(&tile[lane / 2][lane % 2], a + lane * 8);
  cp_commit();
  if (lane < 16) cp_async16(&tile[16 + lane / 2][lane % 2], b + lane * 8);
  cp_commit();
  cp_wait<0>();
  __syncwarp();
  unsigned left[4], right[4], turned[4];
  ldmatrix_x4(left, &tile[lane % 16][lane / 16]);
  ldmatrix_x4(right, &tile[16 + lane % 8][lane / 8 % 2]);
  // The same factor again, from its transpose.
  STRATA_SHARED(columns, uint4[16]);
  for (unsigned n = lane; n < 128; n += 32)
    reinterpret_cast<std::uint16_t*>(columns)[n % 16 * 8 + n / 16] = reinterpret_cast<std::uint16_t*>(tile[16])[n];
  __syncwarp();
  ldmatrix_x4_transposed(turned, &columns[lane % 16]);
  same[lane] = turned[0] == right[0] && turned[1] == right[1] ? 1.f : 0.f;
  float sum[4] = {};
  const unsigned both[2] = {right[0], right[1]};
  mma_16816(sum, left, both);
  for (unsigned n = 0; n < 4; ++n) y[(lane / 4 + n / 2 * 8) * 8 + lane % 4 * 2 + n % 2] = sum[n];
}

/// Reads data that is still being copied, or that has been replaced.
__global__ void read_between_copies(const float* x, float* y, int wait) {
  STRATA_SHARED(tile, uint4);
  float* const values = reinterpret_cast<float*>(&tile);
  strata::device::cp_async16(&tile, x);
  strata::device::cp_commit();
  if (wait != 0) strata::device::cp_wait<0>();
  y[0] = values[0];
  strata::device::cp_async16(&tile, x + 4);
  strata::device::cp_commit();
  y[1] = values[0];
  strata::device::cp_wait<0>();
}

// Kernels with faults --------------------------------------------------------------------------------------------

__global__ void two_barriers(float*) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void barrier_against_warp(float*) {
  if (threadIdx.x % 32 < 16)
    __syncthreads();
  else
    __syncwarp();
}
__global__ void half_a_shuffle(float* y) {
  float value = 1;
  if (threadIdx.x % 32 < 16) value = __shfl_xor_sync(all_lanes, value, 1);
  __syncthreads();
  y[threadIdx.x] = value;
}
__global__ void two_shuffles(float* y) {
  float value = 1;
  if (threadIdx.x % 2 == 0)
    value = __shfl_xor_sync(all_lanes, value, 1);
  else
    value = __shfl_xor_sync(all_lanes, value, 3);
  y[threadIdx.x] = value;
}
__global__ void not_in_mask(float* y) { y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.f, 1); }
__global__ void overrun_shared(float* y) {
  STRATA_SHARED(values, float[64]);
  float* const first = values;
  first[threadIdx.x + blockDim.x / 16] = 1;
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void write_misaligned(float* y) {
  if (threadIdx.x == 5) strata::device::four_at(y + 1) = make_float4(1, 1, 1, 1);
}

template <bool HasBarrier>
__global__ void mirror(float* y) {
  STRATA_SHARED(values, float[128]);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (HasBarrier) __syncthreads();
  y[threadIdx.x] = values[127 - threadIdx.x];
}
template <bool HasBarrier>
__global__ void swap_lanes(float* y) {
  STRATA_SHARED(values, float[128]);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (HasBarrier) __syncwarp();
  y[threadIdx.x] = values[threadIdx.x ^ 1u];
}
/// All blocks write the same element.
__global__ void last_block_wins(float* y) { y[0] = static_cast<float>(blockIdx.x); }

std::size_t count_nan(const std::vector<float>& values) {
  return static_cast<std::size_t>(std::count_if(values.begin(), values.end(), [](float x) { return std::isnan(x); }));
}

/// Whether `action` ends a process by a signal.
template <class Action>
bool dies(Action action) {
  const pid_t child = fork();
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGBUS}) std::signal(signal, SIG_DFL);
    action();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

}  // namespace

// Threads --------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(fresh_device, "cuda on cpu: every thread of every block runs once and knows its place") {
  constexpr unsigned count = 3 * 2 * 2 * 5 * 4 * 3;
  on_every_order([&] {
    unsigned* const y = allocate<unsigned>(count);
    REQUIRE(run(say_where, dim3(3, 2, 2), dim3(5, 4, 3), y) == cudaSuccess);
    const std::vector<unsigned> told = download(y, count);
    for (unsigned n = 0; n < count; ++n) REQUIRE(told[n] == n / 60 * 1000 + n % 60);
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: arguments are those of the launch") {
  float* const y = allocate(2);
  float value = 1;
  start_kernel(set_value, dim3(1), dim3(1), 0, nullptr, y, value);
  value = 2;
  start_kernel(set_value, dim3(1), dim3(1), 0, nullptr, y + 1, value);
  value = 3;
  CHECK(download(y, 2) == std::vector<float>{1, 2});
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: barriers count, and wait only for threads that have not returned") {
  for (const int threads : {1, 20, 96, 100, 1024})
    for (const int returning : {threads, threads - threads / 3}) {
      CAPTURE(threads, returning);
      on_every_order([&] {
        int* const y = allocate<int>(5);
        REQUIRE(run(count_at_barriers, dim3(2), dim3(static_cast<unsigned>(threads)), y, returning) == cudaSuccess);
        const int has_7 = returning > 7 ? 1 : 0;
        CHECK(download(y, 5) == std::vector<int>{(returning + 2) / 3, has_7, 0, 1, 1 - has_7});
      });
    }
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: shuffles") {
  for (const int width : {4, 8, 32})
    on_every_order([&] {
      CAPTURE(width);
      float* const y = allocate(128);
      REQUIRE(run(shuffle_all, dim3(1), dim3(32), y, width) == cudaSuccess);
      const std::vector<float> got = download(y, 128);
      for (int lane = 0; lane < 32; ++lane) {
        const std::size_t n = static_cast<std::size_t>(lane);
        const int first = lane / width * width, end = first + width;
        const auto from = [&](bool is_there, int source) { return static_cast<float>(is_there ? source : lane); };
        CHECK(got[n] == static_cast<float>(first + (lane * 7 + 3) % width));
        CHECK(got[32 + n] == from(lane - 3 >= first, lane - 3));
        CHECK(got[64 + n] == from(lane + 5 < end, lane + 5));
        CHECK(got[96 + n] == from((lane ^ 9) < end, lane ^ 9));
      }
    });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: parts of a warp go their own ways") {
  on_every_order([&] {
    unsigned* const y = allocate<unsigned>(32);
    REQUIRE(run(vote_by_halves, dim3(1), dim3(32), y) == cudaSuccess);
    const std::vector<unsigned> seen = download(y, 32);
    for (std::size_t lane = 0; lane < 32; ++lane) CHECK(seen[lane] == (lane < 16 ? 0x5555u : 0x11110000u) + 1);
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a lane that does not take part has no value to give") {
  float* const y = allocate(16);
  REQUIRE(run(shuffle_from_nobody, dim3(1), dim3(32), y) == cudaSuccess);
  const std::vector<float> got = download(y, 16);
  for (std::size_t lane = 0; lane < 8; ++lane) CHECK(got[lane] == static_cast<float>(lane + 8));
  CHECK(count_nan(got) == 8);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: every block has shared memory of its own, which starts as NaNs") {
  on_every_order([&] {
    float* const y = allocate(4 * 64);
    start_kernel(fill_shared<64>, dim3(4), dim3(64), 64 * sizeof(float), nullptr, y);
    CHECK(download(y, 4 * 64) == std::vector<float>(4 * 64, 3.f));
    start_kernel(fill_shared<40>, dim3(4), dim3(40), 40 * sizeof(float), nullptr, y);
    CHECK(download(y, 4 * 40) == std::vector<float>(4 * 40, 3.f));
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: the order of threads and blocks is the one that is set") {
  const auto order_of = [&](order own, std::uint64_t seed) {
    set_order(own, seed);
    unsigned* const next = upload(std::vector<unsigned>{0});
    unsigned* const y = allocate<unsigned>(8 * 64);
    REQUIRE(run(take_tickets, dim3(8), dim3(64), next, y) == cudaSuccess);
    return download(y, 8 * 64);
  };
  std::vector<unsigned> ascending(8 * 64);
  std::iota(ascending.begin(), ascending.end(), 0u);
  const std::vector<unsigned> descending(ascending.rbegin(), ascending.rend());
  CHECK(order_of(order::forward, 1) == ascending);
  CHECK(order_of(order::reverse, 1) == descending);
  std::vector<unsigned> random = order_of(order::random, 1);
  CHECK(random == order_of(order::random, 1));
  CHECK(random != order_of(order::random, 2));
  CHECK(random != ascending);
  std::sort(random.begin(), random.end());
  CHECK(random == ascending);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: atomic operations") {
  on_every_order([&] {
    int* const y = upload(std::vector<int>{0, 5, 5, -1, 0});
    REQUIRE(run(change_atomically, dim3(1), dim3(100), y) == cudaSuccess);
    const std::vector<int> got = download(y, 5);
    CHECK(got[0] == 4950);
    CHECK(got[1] == 99);
    CHECK(got[2] == 0);
    CHECK(got[3] >= 0);
    CHECK(got[4] >= 1);
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: functions that C++ does not have") {
  float* const y = allocate(8);
  REQUIRE(run(compute, dim3(1), dim3(1), y) == cudaSuccess);
  CHECK(download(y, 8) == std::vector<float>{1, 2, -4, 0.5f, 1.25f, 4 + 31 + 4, 3, 5.5f});
  using strata::device::round_to_bfloat16;
  CHECK(round_to_bfloat16(1 + 1.f / 256, -1 - 3.f / 256) == 0xbf823f80u);  // ties
  CHECK(round_to_bfloat16(1.0038f, 1.004f) == 0x3f813f80u);
  CHECK(round_to_bfloat16(INFINITY, NAN) == 0x7fff7f80u);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a product on tensor cores, of tiles that were copied asynchronously") {
  std::vector<std::uint16_t> a(16 * 16), b(8 * 16);
  const auto small = [](std::size_t n) { return static_cast<float>(n * 37 % 13) - 6.f; };
  const auto bits = [](float x) { return static_cast<std::uint16_t>(std::bit_cast<unsigned>(x) >> 16); };
  for (std::size_t n = 0; n < a.size(); ++n) a[n] = bits(small(n));
  for (std::size_t n = 0; n < b.size(); ++n) b[n] = bits(small(n + 5));
  for (const auto landing : {cuda_on_cpu::landing::late, cuda_on_cpu::landing::early})
    on_every_order([&] {
      cuda_on_cpu::set_landing(landing);
      float* const y = allocate(16 * 8);
      float* const same = allocate(32);
      REQUIRE(run(multiply_by_tensor_core, dim3(1), dim3(32), upload(a), upload(b), y, same) == cudaSuccess);
      CHECK(download(same, 32) == std::vector<float>(32, 1));
      const std::vector<float> got = download(y, 16 * 8);
      for (std::size_t row = 0; row < 16; ++row)
        for (std::size_t column = 0; column < 8; ++column) {
          float sum = 0;
          for (std::size_t k = 0; k < 16; ++k) sum += small(row * 16 + k) * small(column * 16 + k + 5);
          CHECK(got[row * 8 + column] == sum);
        }
    });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: an asynchronous copy lands as late or as soon as it may") {
  const float* const x = upload(std::vector<float>{1, 1, 1, 1, 2, 2, 2, 2});
  const auto read = [&](cuda_on_cpu::landing landing, int wait) {
    cuda_on_cpu::set_landing(landing);
    float* const y = allocate(2);
    REQUIRE(run(read_between_copies, dim3(1), dim3(1), x, y, wait) == cudaSuccess);
    return download(y, 2);
  };
  CHECK(read(cuda_on_cpu::landing::late, 1) == std::vector<float>{1, 1});
  CHECK(read(cuda_on_cpu::landing::early, 1) == std::vector<float>{1, 2});
  CHECK(std::isnan(read(cuda_on_cpu::landing::late, 0)[0]));
}

// Faults of kernels ----------------------------------------------------------------------------------------------

TEST_CASE_METHOD(fresh_device, "cuda on cpu: faults of kernels break the device and are told") {
  const auto told = [&](void (*kernel)(float*)) {
    std::string message;
    on_every_order([&] {
      void* memory = nullptr;
      CHECK(run(kernel, dim3(1), dim3(64), allocate(64)) == cudaErrorLaunchFailure);
      CHECK(cudaMalloc(&memory, 4) == cudaErrorLaunchFailure);  // until it is reset
      message = last_message();
      cudaDeviceReset();
      CHECK(cudaGetLastError() == cudaSuccess);
    });
    return message;
  };
  CHECK_THAT(told(two_barriers), ContainsSubstring("wait at different barriers") && ContainsSubstring("harness.cpp:") &&
                                     ContainsSubstring("block (0, 0, 0) of 64 threads"));
  CHECK_THAT(told(barrier_against_warp), ContainsSubstring("deadlock: thread 0 waits for its block") &&
                                             ContainsSubstring("thread 16 waits for its warp"));
  CHECK_THAT(told(half_a_shuffle), ContainsSubstring("deadlock"));
  CHECK_THAT(told(two_shuffles), ContainsSubstring("lanes of a warp diverge: __shfl_xor_sync at "));
  CHECK_THAT(told(not_in_mask), ContainsSubstring("which is not in its mask"));
  CHECK_THAT(told(write_misaligned), ContainsSubstring("thread 5 at ") && ContainsSubstring("harness.cpp:") &&
                                         ContainsSubstring(" uses 16 bytes at once"));
  CHECK_THAT(told(use_much_shared), ContainsSubstring("needs 65536 bytes of static"));
  if (!cuda_on_cpu::sanitizers::address)
    CHECK_THAT(told(overrun_shared), ContainsSubstring("past the end of 256 bytes of shared memory"));
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: after a fault and a reset everything works again") {
  CHECK(run(two_barriers, dim3(1), dim3(64), nullptr) == cudaErrorLaunchFailure);
  cudaDeviceReset();
  int* const y = allocate<int>(5);
  REQUIRE(run(count_at_barriers, dim3(2), dim3(64), y, 64) == cudaSuccess);
  CHECK(download(y, 5) == std::vector<int>{22, 1, 0, 1, 0});
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: results depend on the order where a barrier is missing") {
  const auto results = [&](void (*kernel)(float*), unsigned blocks, unsigned threads) {
    std::vector<std::string> different;
    on_every_order([&] {
      float* const y = allocate(threads);
      REQUIRE(run(kernel, dim3(blocks), dim3(threads), y) == cudaSuccess);
      const std::vector<float> got = download(y, threads);
      different.emplace_back(reinterpret_cast<const char*>(got.data()), got.size() * sizeof(float));
    });
    std::sort(different.begin(), different.end());
    return std::unique(different.begin(), different.end()) - different.begin();
  };
  CHECK(results(mirror<true>, 1, 128) == 1);
  CHECK(results(mirror<false>, 1, 128) > 1);
  CHECK(results(swap_lanes<true>, 1, 128) == 1);
  CHECK(results(swap_lanes<false>, 1, 128) > 1);
  CHECK(results(last_block_wins, 5, 1) > 1);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: what was never written is NaN") {
  CHECK(count_nan(download(allocate(100), 100)) == 100);
  float* const y = allocate(128);
  REQUIRE(run(mirror<false>, dim3(1), dim3(128), y) == cudaSuccess);
  CHECK(count_nan(download(y, 128)) == 64);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: launches with impossible shapes fail at once") {
  float* const y = allocate(1);
  const auto launched = [&](dim3 blocks, dim3 threads, std::size_t shared_bytes) {
    start_kernel(add_one, blocks, threads, shared_bytes, nullptr, y);
    return cudaGetLastError();
  };
  CHECK(launched(dim3(1), dim3(1), 0) == cudaSuccess);
  for (const dim3 threads : {dim3(1025), dim3(32, 33), dim3(0), dim3(1, 1, 65)})
    CHECK(launched(dim3(1), threads, 0) == cudaErrorInvalidConfiguration);
  for (const dim3 blocks : {dim3(0), dim3(1, 0), dim3(1, 65536), dim3(1, 1, 65536)})
    CHECK(launched(blocks, dim3(1), 0) == cudaErrorInvalidConfiguration);
  CHECK(launched(dim3(1), dim3(1), 99 * 1024) == cudaSuccess);
  CHECK(launched(dim3(1), dim3(1), 99 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

// Memory ---------------------------------------------------------------------------------------------------------

TEST_CASE_METHOD(fresh_device, "cuda on cpu: the host cannot touch device memory") {
  float* const y = upload(std::vector<float>{1});
  CHECK(dies([&] { static_cast<void>(*const_cast<volatile float*>(y)); }));
  CHECK(dies([&] { *const_cast<volatile float*>(y) = 2; }));
  CHECK_FALSE(dies([] {}));
  CHECK(download(y, 1) == std::vector<float>{1});
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: writes beside an allocation are seen") {
  if (cuda_on_cpu::sanitizers::address) return;  // faults.cpp
  for (const std::ptrdiff_t offset : {64, 63, -1}) {
    CAPTURE(offset);
    float* const y = allocate(63);
    CHECK(run(set_value, dim3(1), dim3(1), y + offset, 1.f) == cudaErrorIllegalAddress);
    CHECK_THAT(last_message(), ContainsSubstring("of an allocation of 252 bytes of device memory"));
    cudaDeviceReset();
  }
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: freed memory is not given out again") {
  constexpr std::size_t large = 2 << 20;
  float* const first = allocate(large);
  CHECK(cudaFree(first) == cudaSuccess);
  CHECK(allocate(large) != first);
  CHECK(cudaFree(first) == cudaErrorInvalidValue);
  std::vector<float> host(1);
  CHECK(cudaMemcpy(host.data(), first, 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  if (!cuda_on_cpu::sanitizers::address)
    CHECK(dies([&] { static_cast<void>(run(add_one, dim3(1), dim3(1), first + large / 2)); }));
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: memory ends where the limit is") {
  cuda_on_cpu::set_memory_limit(1 << 20);
  std::size_t free = 0, total = 0;
  const std::size_t live = cuda_on_cpu::live_allocations();
  float* const y = allocate(100000);
  CHECK(cuda_on_cpu::live_allocations() == live + 1);
  REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
  CHECK(total == 1 << 20);
  CHECK(free < total - 400000);
  CHECK(free > total - 401000);
  void* more = nullptr;
  CHECK(cudaMalloc(&more, free + 1) == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&more, std::numeric_limits<std::size_t>::max()) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaMalloc(&more, free) == cudaSuccess);
  CHECK(cudaFree(more) == cudaSuccess);
  CHECK(cudaFree(y) == cudaSuccess);
  CHECK(cudaFree(nullptr) == cudaSuccess);
  CHECK(cuda_on_cpu::live_allocations() == live);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: copies stay inside allocations and go where they say") {
  float* const y = allocate(10);
  std::vector<float> host(11, 1.f);
  const auto copied = [](void* to, const void* from, std::size_t count, cudaMemcpyKind kind) {
    return cudaMemcpy(to, from, count * sizeof(float), kind);
  };
  CHECK(copied(y, host.data(), 10, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(copied(y, host.data(), 10, cudaMemcpyDefault) == cudaSuccess);
  CHECK(copied(y, host.data(), 11, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copied(y + 5, host.data(), 6, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK_THAT(last_message(), ContainsSubstring("a copy of 24 bytes goes beyond an allocation"));
  CHECK(copied(host.data(), y + 10, 1, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(copied(y, host.data(), 1, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(copied(y, host.data(), 1, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
  CHECK_THAT(last_message(), ContainsSubstring("kind"));
  CHECK(cudaMemset(y, 0, 10 * sizeof(float)) == cudaSuccess);
  CHECK(cudaMemset(y, 0, 11 * sizeof(float)) == cudaErrorInvalidValue);
  CHECK(cudaMemset(host.data(), 0, 4) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(host.data(), host.data() + 1, 0, cudaMemcpyDeviceToDevice, nullptr) == cudaSuccess);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: pageable memory is read by the call, pinned memory by the stream") {
  const cudaStream_t s = stream();
  float* const y = allocate(2);
  float pageable = 1;
  void* memory = nullptr;
  REQUIRE(cudaMallocHost(&memory, sizeof(float)) == cudaSuccess);
  float& pinned = *static_cast<float*>(memory);
  pinned = 1;
  CHECK(cudaMemcpyAsync(y, &pageable, sizeof(float), cudaMemcpyHostToDevice, s) == cudaSuccess);
  CHECK(cudaMemcpyAsync(y + 1, &pinned, sizeof(float), cudaMemcpyHostToDevice, s) == cudaSuccess);
  pageable = pinned = 2;
  CHECK(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(download(y, 2) == std::vector<float>{1, 2});
  CHECK(cudaFreeHost(memory) == cudaSuccess);
  CHECK(cudaFreeHost(&pageable) == cudaErrorInvalidValue);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: memory in the order of a stream") {
  const cudaStream_t s = stream();
  void* memory = nullptr;
  REQUIRE(cudaMallocAsync(&memory, 4, s) == cudaSuccess);
  float* const y = static_cast<float*>(memory);
  float host = 0;
  start_kernel(set_value, dim3(1), dim3(1), 0, s, y, 3.f);
  CHECK(cudaMemcpyAsync(&host, y, 4, cudaMemcpyDeviceToHost, s) == cudaSuccess);
  CHECK(cudaFreeAsync(y, s) == cudaSuccess);
  CHECK(cuda_on_cpu::live_allocations() == 1);
  CHECK(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(cuda_on_cpu::live_allocations() == 0);
  CHECK(host == 3);
}

// Streams, events, graphs ----------------------------------------------------------------------------------------

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a stream works in order, and not before somebody waits") {
  on_every_order([&] {
    const cudaStream_t s = stream();
    float* const y = allocate(1);
    float host = -1;
    start_kernel(set_value, dim3(1), dim3(1), 0, s, y, 1.f);
    start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
    CHECK(cudaMemcpyAsync(&host, y, sizeof host, cudaMemcpyDeviceToHost, s) == cudaSuccess);
    CHECK(host == -1);
    CHECK(cudaStreamSynchronize(s) == cudaSuccess);
    CHECK(host == 2);
    CHECK(cudaStreamDestroy(s) == cudaSuccess);
    CHECK(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a stream that forgets to wait for another shows") {
  const auto passed_on = [&](bool waits) {
    const cudaStream_t writer = stream(), reader = stream();
    float* const x = allocate(1);
    float* const y = allocate(1);
    const cudaEvent_t written = event();
    start_kernel(set_value, dim3(1), dim3(1), 0, writer, x, 5.f);
    CHECK(cudaEventRecord(written, writer) == cudaSuccess);
    if (waits) CHECK(cudaStreamWaitEvent(reader, written, 0) == cudaSuccess);
    start_kernel(copy_values, dim3(1), dim3(1), 0, reader, x, y);
    CHECK(cudaStreamSynchronize(reader) == cudaSuccess);
    return download(y, 1)[0];
  };
  CHECK(passed_on(true) == 5);
  CHECK(std::isnan(passed_on(false)));
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: the null stream and blocking streams wait for each other") {
  on_every_order([&] {
    const cudaStream_t blocking = stream(cudaStreamDefault), other = stream(cudaStreamNonBlocking);
    float* const y = allocate(1);
    float seen = -1;
    start_kernel(set_value, dim3(1), dim3(1), 0, blocking, y, 1.f);
    start_kernel(add_one, dim3(1), dim3(1), 0, nullptr, y);
    start_kernel(add_one, dim3(1), dim3(1), 0, blocking, y);
    CHECK(cudaMemcpy(&seen, y, sizeof seen, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(seen == 3);
    start_kernel(add_one, dim3(1), dim3(1), 0, other, y);
    CHECK(cudaMemcpy(&seen, y, sizeof seen, cudaMemcpyDeviceToHost) == cudaSuccess);
    CHECK(seen == 3);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    CHECK(download(y, 1)[0] == 4);
  });
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: events are points in a stream, with times") {
  const cudaStream_t s = stream();
  float* const y = upload(std::vector<float>{0});
  const cudaEvent_t begin = event(), end = event();
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaErrorInvalidResourceHandle);
  CHECK(cudaEventRecord(begin, s) == cudaSuccess);
  start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
  CHECK(cudaEventRecord(end, s) == cudaSuccess);
  start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
  CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaErrorNotReady);
  CHECK(cudaEventQuery(end) == cudaErrorNotReady);
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);  // not ready is no error
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(cudaEventSynchronize(end) == cudaSuccess);
  CHECK(cudaEventQuery(end) == cudaSuccess);
  CHECK(cudaStreamQuery(s) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(s) == cudaSuccess);
  CHECK(cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess);
  CHECK(milliseconds >= 0);
  CHECK(download(y, 1)[0] == 2);
  CHECK(cudaEventDestroy(begin) == cudaSuccess);
  CHECK(cudaEventDestroy(begin) == cudaErrorInvalidResourceHandle);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a graph does again what was captured") {
  const cudaStream_t s = stream();
  float* const y = upload(std::vector<float>{0, 0});
  float host = 10;
  cudaStreamCaptureStatus status{};
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal) == cudaSuccess);
  CHECK(cudaStreamIsCapturing(s, &status) == cudaSuccess);
  CHECK(status == cudaStreamCaptureStatusActive);
  start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
  CHECK(cudaMemcpyAsync(y + 1, &host, sizeof host, cudaMemcpyHostToDevice, s) == cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaStreamEndCapture(s, &graph) == cudaSuccess);
  REQUIRE(cudaGraphInstantiate(&executable, graph, 0) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(download(y, 2) == std::vector<float>{0, 0});
  for (int n = 1; n <= 3; ++n) {
    host = static_cast<float>(n);
    CHECK(cudaGraphLaunch(executable, s) == cudaSuccess);
    CHECK(cudaStreamSynchronize(s) == cudaSuccess);
    CHECK(download(y, 2) == std::vector<float>{host, host});
  }
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
  CHECK(cudaGraphExecDestroy(executable) == cudaErrorInvalidValue);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a graph takes new arguments, but no other kinds of work") {
  const cudaStream_t s = stream();
  float* const y = upload(std::vector<float>{0, 0});
  const auto captured = [&](auto body) {
    CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    body();
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamEndCapture(s, &graph) == cudaSuccess);
    return graph;
  };
  const cudaGraph_t first = captured([&] { start_kernel(set_value, dim3(1), dim3(1), 0, s, y, 1.f); });
  const cudaGraph_t other = captured([&] { start_kernel(set_value, dim3(1), dim3(1), 0, s, y + 1, 2.f); });
  const cudaGraph_t longer = captured([&] {
    start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
    start_kernel(add_one, dim3(1), dim3(1), 0, s, y);
  });
  const cudaGraph_t another_kind = captured([&] { CHECK(cudaMemsetAsync(y, 0, 4, s) == cudaSuccess); });
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaGraphInstantiate(&executable, first, 0) == cudaSuccess);
  cudaGraphExecUpdateResultInfo result{};
  CHECK(cudaGraphExecUpdate(executable, other, &result) == cudaSuccess);
  CHECK(result.result == cudaGraphExecUpdateSuccess);
  CHECK(cudaGraphExecUpdate(executable, longer, &result) == cudaErrorGraphExecUpdateFailure);
  CHECK(result.result == cudaGraphExecUpdateErrorTopologyChanged);
  CHECK(cudaGraphExecUpdate(executable, another_kind, &result) == cudaErrorGraphExecUpdateFailure);
  CHECK(result.result == cudaGraphExecUpdateErrorNodeTypeChanged);
  CHECK(cudaGetLastError() == cudaErrorGraphExecUpdateFailure);
  CHECK(cudaGraphLaunch(executable, s) == cudaSuccess);
  CHECK(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(download(y, 2) == std::vector<float>{0, 2});
  for (const cudaGraph_t graph : {first, other, longer, another_kind}) CHECK(cudaGraphDestroy(graph) == cudaSuccess);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: what the host asks for is counted") {
  const auto before = cuda_on_cpu::counted_calls();
  const cudaStream_t s = stream();
  void* memory = nullptr;
  CHECK(cudaMallocAsync(&memory, 4, s) == cudaSuccess);
  start_kernel(set_value, dim3(1), dim3(1), 0, s, static_cast<float*>(memory), 1.f);
  CHECK(cudaStreamSynchronize(s) == cudaSuccess);
  CHECK(cudaFreeAsync(memory, s) == cudaSuccess);
  const auto after = cuda_on_cpu::counted_calls();
  CHECK(after.allocations - before.allocations == 2);
  CHECK(after.launches - before.launches == 1);
  CHECK(after.waits - before.waits == 1);
  CHECK(after.graph_launches == before.graph_launches);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: to wait or to allocate ends a capture") {
  const cudaStream_t s = stream();
  float* const y = allocate(1);
  void* memory = nullptr;
  const auto ends = [&](auto forbidden) {
    CHECK(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal) == cudaSuccess);
    CHECK(forbidden() == cudaErrorStreamCaptureUnsupported);
    CHECK_THAT(last_message(), ContainsSubstring("while a graph is captured"));
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(s, &graph) == cudaErrorStreamCaptureInvalidated);
  };
  ends([&] { return cudaStreamSynchronize(s); });
  ends([] { return cudaDeviceSynchronize(); });
  ends([&] { return cudaMalloc(&memory, 4); });
  ends([&] { return cudaFree(y); });
  ends([&] { return cudaMemset(y, 0, 4); });
}

// Errors and devices ---------------------------------------------------------------------------------------------

TEST_CASE_METHOD(fresh_device, "cuda on cpu: errors are remembered once, and have names") {
  CHECK(cudaSetDevice(1) == cudaErrorInvalidDevice);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(std::string(cudaGetErrorName(cudaErrorMemoryAllocation)) == "cudaErrorMemoryAllocation");
  CHECK(std::string(cudaGetErrorString(cudaErrorMemoryAllocation)) == "out of memory");
  CHECK(std::string(cublasLtGetStatusName(CUBLAS_STATUS_NOT_SUPPORTED)) == "CUBLAS_STATUS_NOT_SUPPORTED");
  CHECK(std::string(cublasLtGetStatusString(CUBLAS_STATUS_SUCCESS)) == "success");
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: there are as many devices as are set") {
  int count = -1, device = -1, major = 0;
  cuda_on_cpu::set_device_count(2);
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 2);
  CHECK(cudaSetDevice(1) == cudaSuccess);
  CHECK(cudaGetDevice(&device) == cudaSuccess);
  CHECK(device == 1);
  CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 1) == cudaSuccess);
  CHECK(major == 8);
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.warpSize == 32);

  cuda_on_cpu::set_device_count(0);
  void* memory = nullptr;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaMalloc(&memory, 4) == cudaErrorNoDevice);
}

// Matrix products ------------------------------------------------------------------------------------------------

namespace {

/// One product d[m,n] = a b of matrices by columns, whose columns lie `gap` elements further apart than they must.
struct product {
  bool transpose_a = false, transpose_b = false, has_bias = false;
  std::uint64_t m = 1, n = 1, k = 1, gap = 0;
  float alpha = 1, beta = 0;
  cudaDataType_t input = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;

  std::uint64_t a_rows() const { return transpose_a ? k : m; }
  std::uint64_t a_columns() const { return transpose_a ? m : k; }
  std::uint64_t b_rows() const { return transpose_b ? n : k; }
  std::uint64_t b_columns() const { return transpose_b ? k : n; }

  /// The first failure of the calls that a product takes.
  cublasStatus_t run(const void* a, const void* b, const float* bias, float* d, std::uint32_t alignment = 4) const {
    cublasLtHandle_t handle = nullptr;
    cublasLtMatmulDesc_t own = nullptr;
    cublasLtMatrixLayout_t a_layout = nullptr, b_layout = nullptr, d_layout = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    cublasStatus_t failed = CUBLAS_STATUS_SUCCESS;
    const auto did = [&](cublasStatus_t status) {
      if (failed == CUBLAS_STATUS_SUCCESS) failed = status;
    };
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, auto value) {
      did(cublasLtMatmulDescSetAttribute(own, attribute, &value, sizeof value));
    };
    did(cublasLtCreate(&handle));
    did(cublasLtMatmulDescCreate(&own, compute, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const auto leading = [this](std::uint64_t rows) { return static_cast<std::int64_t>(rows + gap); };
    did(cublasLtMatrixLayoutCreate(&a_layout, input, a_rows(), a_columns(), leading(a_rows())));
    did(cublasLtMatrixLayoutCreate(&b_layout, input, b_rows(), b_columns(), leading(b_rows())));
    did(cublasLtMatrixLayoutCreate(&d_layout, CUDA_R_32F, m, n, leading(m)));
    did(cublasLtMatmulPreferenceCreate(&preference));
    for (const auto each : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      did(cublasLtMatmulPreferenceSetAttribute(preference, each, &alignment, sizeof alignment));
    did(cublasLtMatmulAlgoGetHeuristic(handle, own, a_layout, b_layout, d_layout, d_layout, preference, 1, &found,
                                       &count));
    did(cublasLtMatmul(handle, own, &alpha, a, a_layout, b, b_layout, &beta, d, d_layout, d, d_layout, &found.algo,
                       nullptr, 0, nullptr));
    cublasLtMatmulPreferenceDestroy(preference);
    for (const auto each : {a_layout, b_layout, d_layout}) cublasLtMatrixLayoutDestroy(each);
    cublasLtMatmulDescDestroy(own);
    cublasLtDestroy(handle);
    return failed;
  }
};

std::vector<float> numbers(std::uint64_t count, std::uint64_t seed) {
  std::vector<float> values(count);
  for (std::uint64_t n = 0; n < count; ++n) values[n] = static_cast<float>((n * 7919 + seed * 104729) % 251) / 125 - 1;
  return values;
}

}  // namespace

TEST_CASE_METHOD(fresh_device, "cuda on cpu: products equal plain loops") {
  const auto compare = [&](const product& own) {
    CAPTURE(own.transpose_a, own.transpose_b, own.has_bias, own.m, own.n, own.k, own.gap, own.beta);
    const auto a = numbers((own.a_rows() + own.gap) * own.a_columns(), 1);
    const auto b = numbers((own.b_rows() + own.gap) * own.b_columns(), 2);
    const auto bias = numbers(own.m, 3);
    // Without beta, the old values are not read.
    const auto before =
        own.beta == 0 ? std::vector<float>((own.m + own.gap) * own.n, NAN) : numbers((own.m + own.gap) * own.n, 4);
    float* const d = upload(before);
    REQUIRE(own.run(upload(a), upload(b), own.has_bias ? upload(bias) : nullptr, d) == CUBLAS_STATUS_SUCCESS);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    const auto got = download(d, before.size());
    const auto at = [&](const std::vector<float>& x, std::uint64_t rows, std::uint64_t row, std::uint64_t column) {
      return x[column * (rows + own.gap) + row];
    };
    for (std::uint64_t i = 0; i < own.m; ++i)
      for (std::uint64_t j = 0; j < own.n; ++j) {
        double sum = 0;
        for (std::uint64_t l = 0; l < own.k; ++l)
          sum += static_cast<double>(own.transpose_a ? at(a, own.a_rows(), l, i) : at(a, own.a_rows(), i, l)) *
                 static_cast<double>(own.transpose_b ? at(b, own.b_rows(), j, l) : at(b, own.b_rows(), l, j));
        sum *= own.alpha;
        if (own.beta != 0) sum += own.beta * at(before, own.m, i, j);
        if (own.has_bias) sum += bias[i];
        REQUIRE(at(got, own.m, i, j) == Approx(sum).margin(1e-4));
      }
    // The numbers between the columns stay.
    for (std::uint64_t j = 0; j < own.n; ++j)
      for (std::uint64_t i = own.m; i < own.m + own.gap; ++i)
        REQUIRE(std::memcmp(&got[j * (own.m + own.gap) + i], &before[j * (own.m + own.gap) + i], sizeof(float)) == 0);
  };
  for (const bool transpose_a : {false, true})
    for (const bool transpose_b : {false, true})
      for (const bool has_bias : {false, true})
        for (const float beta : {0.f, 1.f}) {
          product own{transpose_a, transpose_b, has_bias, 7, 5, 3};
          own.beta = beta;
          compare(own);
          own.gap = 2;
          own.alpha = 0.5f;
          compare(own);
          compare({transpose_a, transpose_b, has_bias, 1, 1, 1});
          compare({transpose_a, transpose_b, has_bias, 33, 65, 130});
        }
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: products of bfloat16 and of tf32") {
  product own{false, false, false, 1, 1, 2};
  float* const d = allocate(1);
  const std::uint16_t one_and_two[] = {0x3f80, 0x4000};
  own.input = CUDA_R_16BF;
  const std::uint16_t* const x = upload(std::vector<std::uint16_t>(one_and_two, one_and_two + 2));
  REQUIRE(own.run(x, x, nullptr, d) == CUBLAS_STATUS_SUCCESS);
  CHECK(download(d, 1)[0] == 5);

  own.input = CUDA_R_32F;
  const float whole = 0.3f, cut = 0.2998046875f;  // rounding to the nearest would give 0.300048828125
  const float* const a = upload(std::vector<float>{whole, 0});
  const float* const b = upload(std::vector<float>{1, 0});
  REQUIRE(own.run(a, b, nullptr, d) == CUBLAS_STATUS_SUCCESS);
  CHECK(download(d, 1)[0] == whole);
  own.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  REQUIRE(own.run(a, b, nullptr, d) == CUBLAS_STATUS_SUCCESS);
  CHECK(download(d, 1)[0] == cut);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: products are refused as the library refuses them") {
  float* const x = upload(std::vector<float>(16, 1.f));
  const auto status = [&](const product& own) { return own.run(x, x, nullptr, x); };
  CHECK(status({false, false, false, 2, 2, 2}) == CUBLAS_STATUS_SUCCESS);
  CHECK(status({false, false, true, 2, 2, 2}) == CUBLAS_STATUS_INVALID_VALUE);  // has no bias
  for (const product& empty : {product{false, false, false, 0, 2, 2}, product{false, false, false, 2, 0, 2},
                               product{false, false, false, 2, 2, 0}})
    CHECK(status(empty) == CUBLAS_STATUS_INVALID_VALUE);
  const product own{false, false, false, 2, 2, 2};
  CHECK(own.run(x + 1, x, nullptr, x) == CUBLAS_STATUS_SUCCESS);
  CHECK(own.run(x + 1, x, nullptr, x, 16) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(own.run(nullptr, x, nullptr, x) == CUBLAS_STATUS_INVALID_VALUE);
  product short_columns = own;
  short_columns.gap = std::numeric_limits<std::uint64_t>::max();  // a leading dimension of one less than the rows
  CHECK(status(short_columns) == CUBLAS_STATUS_INVALID_VALUE);
}

TEST_CASE_METHOD(fresh_device, "cuda on cpu: a product that leaves its arrays breaks the device") {
  float* const x = upload(std::vector<float>(15, 1.f));
  const product own{false, false, false, 4, 4, 4};
  CHECK(own.run(x, x, nullptr, x) == CUBLAS_STATUS_SUCCESS);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  CHECK_THAT(last_message(), ContainsSubstring("matrix A of a product of 64 bytes does not lie in an allocation"));
}
