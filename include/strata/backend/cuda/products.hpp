// linear and its two gradients by cuBLASLt; the same product with weights in bfloat16 or int8 by kernels, for a few rows at a
// time; and the life of the backend, which owns cuBLASLt's handle.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N].
// Source: backend/backend.hpp; cuBLAS documentation, "Using the cuBLASLt API".
#pragma once

#include <cstring>
#include <limits>
#include <map>
#include <tuple>

#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/loops.hpp>

namespace strata {

/// One product of cuBLASLt, which sees matrices by columns: to it our row-major [R,C] is [C,R].
/// c[n,m] = or += (transpose_b ? b^T : b) (transpose_a ? a^T : a), in its words c = op(a) op(b) with m x n results and k terms.
struct cuda_product {
  bool transpose_a = false, transpose_b = false, add = false, bias = false;
  index m = 0, n = 0, k = 0;
  auto key() const { return std::tuple(transpose_a, transpose_b, add, bias, m, n, k); }
};

/// cuBLASLt with a workspace, and the algorithm it chose for each shape that was ever asked for.
class cuda_products {
 public:
  explicit cuda_products(cuda_precision precision)
      : compute_(precision == cuda_precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F),
        workspace_(workspace_bytes) {
    STRATA_CUDA(cublasLtCreate(&handle_));
  }
  cuda_products(const cuda_products&) = delete;
  cuda_products& operator=(const cuda_products&) = delete;
  ~cuda_products() {
    for (auto& [key, own] : plans_) own.destroy();
    cublasLtDestroy(handle_);
  }

  void multiply(const cuda_product& shape, const float* a, const float* b, const float* bias, float* c,
                cudaStream_t stream) {
    plan& own = plan_of(shape);
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

  plan& plan_of(const cuda_product& shape) {
    const auto [place, is_new] = plans_.try_emplace(shape.key());
    if (!is_new) return place->second;
    plan& own = place->second;
    try {
      make(own, shape);
    } catch (...) {
      own.destroy();
      plans_.erase(place);
      throw;
    }
    return own;
  }
  void make(plan& own, const cuda_product& shape) {
    STRATA_CUDA(cublasLtMatmulDescCreate(&own.operation, compute_, CUDA_R_32F));
    set(own.operation, CUBLASLT_MATMUL_DESC_TRANSA, shape.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(own.operation, CUBLASLT_MATMUL_DESC_TRANSB, shape.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(own.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, shape.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    const auto layout = [](cublasLtMatrixLayout_t& made, index rows, index columns) {
      STRATA_CUDA(cublasLtMatrixLayoutCreate(&made, CUDA_R_32F, static_cast<std::uint64_t>(rows),
                                             static_cast<std::uint64_t>(columns), rows));
    };
    layout(own.a, shape.transpose_a ? shape.k : shape.m, shape.transpose_a ? shape.m : shape.k);
    layout(own.b, shape.transpose_b ? shape.n : shape.k, shape.transpose_b ? shape.k : shape.n);
    layout(own.c, shape.m, shape.n);

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
    // Sums that threads add to in place come in another order every time.
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_MASK & ~CUBLASLT_REDUCTION_SCHEME_INPLACE));
    // Tensors start on cache lines; slices of them on any element.
    for (const auto alignment :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(alignment, static_cast<std::uint32_t>(sizeof(float)));
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    STRATA_CUDA(cublasLtMatmulAlgoGetHeuristic(handle_, own.operation, own.a, own.b, own.c, own.c, preference.own, 1,
                                               &found, &count));
    require(count > 0, "cuBLASLt has no product of [", shape.m, ", ", shape.k, "] and [", shape.k, ", ", shape.n, "]");
    own.algorithm = found.algo;
  }

  cublasComputeType_t compute_;
  cublasLtHandle_t handle_ = nullptr;
  device_buffer<unsigned char> workspace_;
  std::map<decltype(cuda_product{}.key()), plan> plans_;
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
  // What is freed stays in the pool, for the next one who asks.
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

inline float* cuda::scratch(index count) {
  if (scratch_.size() < count) {
    synchronize();  // what runs may still read the old memory
    scratch_ = device_buffer<float>();
    ++scratch_changes_;
    scratch_ = device_buffer<float>(count);
  }
  return scratch_.data();
}

namespace device {

/// dy[R,N], for the sums of its columns.
struct rows_of_gradients {
  const float* dy;
  index columns;
  __device__ __forceinline__ float2 operator()(index row, index column) const {
    return make_float2(dy[row * columns + column], 0);
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

/// y[R,N] = or += x[R,K] packed[N,K]^T scale[N] + bias[N]. A warp computes Rows rows of one column, so weights are read once for
/// them; scale and bias may be null.
template <class Weight, int Rows>
__global__ void packed_linear_kernel(const float* __restrict__ x, const typename Weight::type* __restrict__ packed,
                                     const float* __restrict__ scale, const float* __restrict__ bias,
                                     float* __restrict__ y, index rows, index in, index out, bool add) {
  const index n = row_of_warp();
  if (n >= out) return;
  const index first = static_cast<index>(blockIdx.y) * Rows;
  const int lane = lane_of_thread();
  float sum[Rows] = {};
  for (index k = lane; k < in; k += warp_size) {
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
    float& place = y[(first + r) * out + n];
    place = add ? place + own : own;
  }
}

struct pack_bfloat16_element {
  const float* x;
  bfloat16* packed;
  __device__ __forceinline__ void operator()(index n) const {
    const unsigned bits = __float_as_uint(x[n]);
    const bool is_number = x[n] == x[n];
    packed[n].bits =
        static_cast<std::uint16_t>(is_number ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : bits >> 16 | 0x40u);
  }
};

/// One warp a row.
template <class = void>
__global__ void pack_int8_kernel(const float* __restrict__ weight, std::int8_t* __restrict__ packed,
                                 float* __restrict__ scale, index rows, index width) {
  const index row = row_of_warp();
  if (row >= rows) return;
  const int lane = lane_of_thread();
  float largest = 0;
  int finite = 1;
  for (index k = lane; k < width; k += warp_size) {
    const float size = fabsf(weight[row * width + k]);
    finite = finite && size <= 3.402823466e38f;
    largest = fmaxf(largest, size);
  }
  finite = __all_sync(all_lanes, finite);
  const float own = finite ? warp_max(largest) / 127 : __uint_as_float(0x7fc00000u);
  if (lane == 0) scale[row] = own;
  for (index k = lane; k < width; k += warp_size)  // a scale may have been rounded to 0, or far down
    packed[row * width + k] =
        own > 0 ? static_cast<std::int8_t>(fminf(fmaxf(rintf(weight[row * width + k] / own), -127.f), 127.f))
                : std::int8_t{0};
}

template <class Weight>
void packed_linear(cuda& backend, const view<const float, 2>& x, const typename Weight::type* packed,
                   const float* scale, const float* bias, const view<float, 2>& y, update mode) {
  constexpr int rows_a_warp = 4;
  const auto [rows, out] = y.shape;
  launch(backend,
         {dim3(blocks_for(out, threads_of_warps / warp_size), blocks_for(rows, rows_a_warp)), threads_of_warps},
         packed_linear_kernel<Weight, rows_a_warp>, x.data, packed, scale, bias, y.data, rows, x.shape[1], out,
         mode == update::add);
}

}  // namespace device

inline void linear(cuda& backend, input<float, 2> x, input<float, 2> weight, input<float, 1> bias, output<float, 2> y,
                   update mode) {
  const auto [rows, out] = y.shape;
  if (rows == 0 || out == 0) return;
  backend.products().multiply(
      {.transpose_a = true, .add = mode == update::add, .bias = bool(bias), .m = out, .n = rows, .k = x.shape[1]},
      weight.data, x.data, bias.data, y.data, backend.stream());
}
inline void linear_backward_input(cuda& backend, input<float, 2> dy, input<float, 2> weight, output<float, 2> dx,
                                  update mode) {
  const auto [rows, in] = dx.shape;
  if (rows == 0 || in == 0) return;
  backend.products().multiply({.add = mode == update::add, .m = in, .n = rows, .k = dy.shape[1]}, weight.data, dy.data,
                              nullptr, dx.data, backend.stream());
}
inline void linear_backward_weight(cuda& backend, input<float, 2> dy, input<float, 2> x, output<float, 2> dweight,
                                   output<float, 1> dbias) {
  const auto [rows, out] = dy.shape;
  if (rows == 0 || out == 0) return;
  if (x.shape[1] > 0)
    backend.products().multiply({.transpose_b = true, .add = true, .m = x.shape[1], .n = out, .k = rows}, x.data,
                                dy.data, nullptr, dweight.data, backend.stream());
  if (!dbias) return;
  device::add_column_sums(backend, rows, out, device::rows_of_gradients{dy.data, out}, dbias.data, nullptr);
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
