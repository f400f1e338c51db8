// linear and its two gradients by cuBLASLt; linear with bfloat16 or int8 weights by kernels, for a few rows at a time;
// constructor and destructor of the backend, which owns cuBLASLt's handle.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N].
// Source: backend/backend.hpp; cuBLAS documentation, "Using the cuBLASLt API".
#pragma once

#include <algorithm>
#include <cfloat>
#include <cstdint>
#include <limits>
#include <map>
#include <tuple>

#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/loops.hpp>
#include <strata/backend/cuda/tensor_cores.hpp>

namespace strata::inline STRATA_ABI {

/// One matrix product of cuBLASLt, which is column-major: our row-major [R,C] is its [C,R].
/// c[n,m] = or += (transpose_b ? b^T : b) (transpose_a ? a^T : a); for cuBLASLt c = op(a) op(b) with m x n results and
/// k terms.
struct cuda_product {
  bool transpose_a = false, transpose_b = false, add = false, bias = false;
  index_type m = 0, n = 0, k = 0;
  /// Rows, and elements per row, of a and b as row-major matrices.
  index_type rows_of_a() const { return transpose_a ? m : k; }
  index_type width_of_a() const { return transpose_a ? k : m; }
  index_type rows_of_b() const { return transpose_b ? k : n; }
  index_type width_of_b() const { return transpose_b ? n : k; }
};

/// What the choice of an algorithm depends on: the shape, and the alignment of all arrays.
struct cuda_product_key {
  cuda_product shape;
  std::uint32_t alignment;  ///< in bytes
  auto members() const {
    return std::tuple(shape.transpose_a, shape.transpose_b, shape.add, shape.bias, shape.m, shape.n, shape.k,
                      alignment);
  }
  bool operator<(const cuda_product_key& other) const { return members() < other.members(); }
};

/// cuBLASLt with a workspace, and the algorithm it chose for each shape so far.
class cuda_products {
 public:
  explicit cuda_products(cuda_precision precision) : precision_(precision), workspace_(workspace_bytes) {
    STRATA_CUDA(cublasLtCreate(&handle_));
  }
  cuda_products(const cuda_products&) = delete;
  cuda_products& operator=(const cuda_products&) = delete;
  ~cuda_products() {
    for (auto& [key, own] : plans_) own.destroy();
    cublasLtDestroy(handle_);
  }

  cuda_precision precision() const { return precision_; }

  /// Elements from one row of a or b to the next. Tensor cores want bfloat16 rows aligned to 16 bytes.
  index_type stride(index_type width) const {
    return precision_ == cuda_precision::bfloat16 ? (width + 7) / 8 * 8 : width;
  }

  /// `a` and `b` are float, or bfloat16 with cuda_precision::bfloat16; their rows lie stride(width) apart.
  void multiply(const cuda_product& shape, const void* a, const void* b, const float* bias, float* c,
                cudaStream_t stream) {
    const auto addresses = reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b) |
                           reinterpret_cast<std::uintptr_t>(c) |
                           (shape.bias ? reinterpret_cast<std::uintptr_t>(bias) : 0);
    // Tensors start on cache lines, slices of tensors on any element.
    const std::uint32_t alignment = addresses % 16 == 0 ? 16 : sizeof(float);
    plan& own = plan_of({shape, alignment});
    if (shape.bias) set(own.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float one = 1, kept = shape.add ? 1 : 0;
    STRATA_CUDA(cublasLtMatmul(handle_, own.operation, &one, a, own.a, b, own.b, &kept, c, own.c, c, own.c,
                               &own.algorithm, workspace_.data(), workspace_bytes, stream));
  }

 private:
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  // what cuBLAS asks for on Hopper

  struct plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    void destroy() {
      if (operation != nullptr) cublasLtMatmulDescDestroy(operation);
      for (cublasLtMatrixLayout_t each : {a, b, c})
        if (each != nullptr) cublasLtMatrixLayoutDestroy(each);
    }
  };

  template <class Value>
  static void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    STRATA_CUDA(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value));
  }

  plan& plan_of(const cuda_product_key& key) {
    const auto [found, is_new] = plans_.try_emplace(key);
    if (!is_new) return found->second;
    plan& own = found->second;
    try {
      make(own, key);
    } catch (...) {
      own.destroy();
      plans_.erase(found);
      throw;
    }
    return own;
  }
  void make(plan& own, const cuda_product_key& key) {
    const cuda_product& shape = key.shape;
    STRATA_CUDA(cublasLtMatmulDescCreate(
        &own.operation, precision_ == cuda_precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
        CUDA_R_32F));
    set(own.operation, CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(own.operation, CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(own.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, shape.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    // cuBLASLt takes the alignment of the bias from its address: this one is aligned as the key says, and no more.
    if (shape.bias) set(own.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, std::uintptr_t{key.alignment});
    const auto layout = [](cublasLtMatrixLayout_t& made, cudaDataType_t type, index_type rows, index_type width,
                           index_type stride) {
      STRATA_CUDA(cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(width),
                                             static_cast<std::uint64_t>(rows), stride));
    };
    const cudaDataType_t input_type = precision_ == cuda_precision::bfloat16 ? CUDA_R_16BF : CUDA_R_32F;
    layout(own.a, input_type, shape.rows_of_a(), shape.width_of_a(), stride(shape.width_of_a()));
    layout(own.b, input_type, shape.rows_of_b(), shape.width_of_b(), stride(shape.width_of_b()));
    layout(own.c, CUDA_R_32F, shape.n, shape.m, shape.m);

    struct preference_owner {
      cublasLtMatmulPreference_t own = nullptr;
      ~preference_owner() {
        if (own != nullptr) cublasLtMatmulPreferenceDestroy(own);
      }
    } preference;
    STRATA_CUDA(cublasLtMatmulPreferenceCreate(&preference.own));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      STRATA_CUDA(cublasLtMatmulPreferenceSetAttribute(preference.own, attribute, &value, sizeof value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    // Sums that threads add to in place have another order every time.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_MASK & ~CUBLASLT_REDUCTION_SCHEME_INPLACE));
    for (const auto array : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(array, key.alignment);
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    STRATA_CUDA(cublasLtMatmulAlgoGetHeuristic(handle_, own.operation, own.a, own.b, own.c, own.c, preference.own, 1,
                                               &found, &count));
    require(count > 0, "cuBLASLt has no matrix product of [", shape.m, ", ", shape.k, "] and [", shape.k, ", ", shape.n,
            "]");
    own.algorithm = found.algo;
  }

  cuda_precision precision_;
  cublasLtHandle_t handle_ = nullptr;
  device_buffer<unsigned char> workspace_;
  std::map<cuda_product_key, plan> plans_;
};

inline cuda::cuda(cuda_options options) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  require(found == cudaSuccess && count > 0, "CUDA: there is no device that this program can use (",
          found == cudaSuccess ? "none was found" : cudaGetErrorString(found), ")");
  require(options.device >= 0 && options.device < count, "CUDA: device ", options.device,
          " was asked for, but there are ", count);
  STRATA_CUDA(cudaSetDevice(options.device));
  int major = 0, minor = 0;
  STRATA_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, options.device));
  STRATA_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, options.device));
  require(major >= 8, "CUDA: device ", options.device, " has compute capability ", major, ".", minor,
          ", but strata needs 8.0 or later");
  // Freed memory stays in the pool, for the next allocation.
  cudaMemPool_t pool = nullptr;
  std::uint64_t kept = std::numeric_limits<std::uint64_t>::max();
  STRATA_CUDA(cudaDeviceGetDefaultMemPool(&pool, options.device));
  STRATA_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
  STRATA_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  try {
    products_ = std::make_unique<cuda_products>(options.precision);
  } catch (...) {
    cudaStreamDestroy(stream_);
    throw;
  }
}
inline cuda::~cuda() {
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

namespace device {

/// rounded[R,stride] in bfloat16 = x[R,C]; a thread has two neighbours of a row. The padding after a row is not read.
struct round_row_pairs {
  const float* x;
  unsigned* rounded;
  index_type width, stride;
  __device__ __forceinline__ void operator()(index_type row, index_type pair) const {
    const float* const own = x + row * width + 2 * pair;
    rounded[row * (stride / 2) + pair] = round_to_bfloat16(own[0], 2 * pair + 1 < width ? own[1] : 0);
  }
};

/// y[R,N] = or += bias[N] or 0: a matrix product without terms.
struct add_no_terms {
  const float* bias;
  float* y;
  index_type columns;
  bool add;
  __device__ __forceinline__ void operator()(index_type row, index_type column) const {
    float& target = y[row * columns + column];
    target = (add ? target : 0) + (bias == nullptr ? 0 : bias[column]);
  }
};

/// The matrix product of `a` and `b`, rounded first in bfloat16. Without elements c stays as it is.
inline void multiply(cuda& backend, const cuda_product& shape, const float* a, const float* b, const float* bias,
                     float* c) {
  if (shape.m == 0 || shape.n == 0) return;
  if (shape.k == 0) {
    if (shape.add && !shape.bias) return;
    for_each_in_rows(backend, shape.n, shape.m, add_no_terms{shape.bias ? bias : nullptr, c, shape.m, shape.add});
    return;
  }
  cuda_products& products = backend.products();
  if (products.precision() != cuda_precision::bfloat16)
    return products.multiply(shape, a, b, bias, c, backend.stream());
  const index_type stride_of_a = products.stride(shape.width_of_a()), stride_of_b = products.stride(shape.width_of_b());
  const index_type floats_of_a = shape.rows_of_a() * stride_of_a / 2, floats_of_b = shape.rows_of_b() * stride_of_b / 2;
  auto* const rounded_a = reinterpret_cast<unsigned*>(backend.product_scratch(floats_of_a + floats_of_b));
  unsigned* const rounded_b = rounded_a + floats_of_a;
  const auto round = [&](const float* from, unsigned* to, index_type rows, index_type width, index_type stride) {
    for_each_in_rows(backend, rows, (width + 1) / 2, round_row_pairs{from, to, width, stride});
  };
  round(a, rounded_a, shape.rows_of_a(), shape.width_of_a(), stride_of_a);
  round(b, rounded_b, shape.rows_of_b(), shape.width_of_b(), stride_of_b);
  products.multiply(shape, rounded_a, rounded_b, bias, c, backend.stream());
}

/// dy[R,N], for the sums of its columns.
struct rows_of_gradients {
  const float* dy;
  fours memory;
  __device__ __forceinline__ two_fours operator()(index_type row, index_type column) const {
    return {memory.load(dy + row * memory.columns, column), {}};
  }
};

/// How a packed weight becomes a float.
struct bfloat16_weight {
  using type = bfloat16;
  __device__ __forceinline__ static float value(bfloat16 packed) {
    return __uint_as_float(static_cast<unsigned>(packed.bits) << 16);
  }
};
struct int8_weight {
  using type = std::int8_t;
  __device__ __forceinline__ static float value(std::int8_t packed) { return static_cast<float>(packed); }
};

/// y[R,N] = or += x[R,K] packed[N,K]^T scale[N] + bias[N]. A warp computes Rows rows of one column, so it reads weights
/// once for all of them. `scale` and `bias` may be null.
template <class Weight, int Rows>
__global__ void packed_linear_kernel(const float* __restrict__ x, const typename Weight::type* __restrict__ packed,
                                     const float* __restrict__ scale, const float* __restrict__ bias,
                                     float* __restrict__ y, index_type rows, index_type in, index_type out, bool add) {
  const index_type n = row_of_warp();
  if (n >= out) return;
  const index_type first = static_cast<index_type>(blockIdx.y) * Rows;
  const int lane = lane_of_thread();
  float sum[Rows] = {};
  for (index_type k = lane; k < in; k += warp_size) {
    const float weight = Weight::value(packed[n * in + k]);
    STRATA_UNROLL
    for (int r = 0; r < Rows; ++r)
      if (first + r < rows) sum[r] += x[(first + r) * in + k] * weight;
  }
  STRATA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    const float total = warp_sum(sum[r]);
    if (lane != 0 || first + r >= rows) continue;
    const float own = total * (scale == nullptr ? 1.f : scale[n]) + (bias == nullptr ? 0.f : bias[n]);
    float& target = y[(first + r) * out + n];
    target = add ? target + own : own;
  }
}

struct pack_bfloat16_element {
  const float* x;
  bfloat16* packed;
  __device__ __forceinline__ void operator()(index_type n) const {
    const unsigned bits = __float_as_uint(x[n]);
    const bool is_number = x[n] == x[n];
    packed[n].bits =
        static_cast<std::uint16_t>(is_number ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : bits >> 16 | 0x40u);
  }
};

/// One warp per row.
template <class = void>
__global__ void pack_int8_kernel(const float* __restrict__ weight, std::int8_t* __restrict__ packed,
                                 float* __restrict__ scale, index_type rows, index_type width) {
  const index_type row = row_of_warp();
  if (row >= rows) return;
  const int lane = lane_of_thread();
  float largest = 0;
  int finite = 1;
  for (index_type k = lane; k < width; k += warp_size) {
    const float size = fabsf(weight[row * width + k]);
    finite = finite && size <= FLT_MAX;
    largest = fmaxf(largest, size);
  }
  finite = __all_sync(all_lanes, finite);
  const float own = finite ? warp_max(largest) / 127 : __uint_as_float(0x7fc00000u);
  if (lane == 0) scale[row] = own;
  for (index_type k = lane; k < width; k += warp_size)  // the scale may be rounded to 0, or far down
    packed[row * width + k] =
        own > 0 ? static_cast<std::int8_t>(fminf(fmaxf(rintf(weight[row * width + k] / own), -127.f), 127.f))
                : std::int8_t{0};
}

template <class Weight>
void packed_linear(cuda& backend, const view<const float, 2>& x, const typename Weight::type* packed,
                   const float* scale, const float* bias, const view<float, 2>& y, update mode) {
  constexpr int rows_a_warp = 4;
  constexpr index_type rows_a_launch = rows_a_warp * most_blocks_in_y;
  const auto [rows, out] = y.shape;
  const index_type in = x.shape[1];
  for (index_type first = 0; first < rows; first += rows_a_launch) {
    const index_type own = std::min(rows - first, rows_a_launch);
    launch(backend,
           {dim3(blocks_for(out, threads_of_warps / warp_size), blocks_for(own, rows_a_warp)), threads_of_warps},
           packed_linear_kernel<Weight, rows_a_warp>, x.data + first * in, packed, scale, bias, y.data + first * out,
           own, in, out, mode == update::add);
  }
}

}  // namespace device

inline void linear(cuda& backend, input<float, 2> x, input<float, 2> weight, input<float, 1> bias, output<float, 2> y,
                   update mode) {
  const auto [rows, out] = y.shape;
  device::multiply(
      backend,
      {.transpose_a = true, .add = mode == update::add, .bias = bool(bias), .m = out, .n = rows, .k = x.shape[1]},
      weight.data, x.data, bias.data, y.data);
}
inline void linear_backward_input(cuda& backend, input<float, 2> dy, input<float, 2> weight, output<float, 2> dx,
                                  update mode) {
  const auto [rows, in] = dx.shape;
  device::multiply(backend, {.add = mode == update::add, .m = in, .n = rows, .k = dy.shape[1]}, weight.data, dy.data,
                   nullptr, dx.data);
}
inline void linear_backward_weight(cuda& backend, input<float, 2> dy, input<float, 2> x, output<float, 2> dweight,
                                   output<float, 1> dbias) {
  const auto [rows, out] = dy.shape;
  device::multiply(backend, {.transpose_b = true, .add = true, .m = x.shape[1], .n = out, .k = rows}, x.data, dy.data,
                   nullptr, dweight.data);
  if (!dbias || out == 0) return;
  device::add_column_sums(backend, rows, out, device::rows_of_gradients{dy.data, device::fours(out, {}, {dy.data})},
                          dbias.data, nullptr);
}

inline void pack_bfloat16(cuda& backend, input<float, 1> x, view<bfloat16, 1> packed) {
  device::for_each_element(backend, x.size(), device::pack_bfloat16_element{x.data, packed.data});
}
inline void pack_int8(cuda& backend, input<float, 2> weight, view<std::int8_t, 2> packed, output<float, 1> scale) {
  device::launch_warps(backend, weight.shape[0], device::pack_int8_kernel<>, weight.data, packed.data, scale.data,
                       weight.shape[0], weight.shape[1]);
}
inline void linear_bfloat16(cuda& backend, input<float, 2> x, view<const bfloat16, 2> packed, input<float, 1> bias,
                            output<float, 2> y, update mode) {
  device::packed_linear<device::bfloat16_weight>(backend, x, packed.data, nullptr, bias.data, y, mode);
}
inline void linear_int8(cuda& backend, input<float, 2> x, view<const std::int8_t, 2> packed, input<float, 1> scale,
                        input<float, 1> bias, output<float, 2> y, update mode) {
  device::packed_linear<device::int8_weight>(backend, x, packed.data, scale.data, bias.data, y, mode);
}

}  // namespace strata
