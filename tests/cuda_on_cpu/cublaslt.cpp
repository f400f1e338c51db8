// Matrix products of cuBLASLt: the part that strata uses, with the library's checks, in the order of a stream.
#include <Eigen/Core>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <type_traits>

#include "cuda_on_cpu/runtime.hpp"

// The types behind the API's handles. Types that the header declares itself are base classes.
struct cublasLtContext {};

namespace {

using matrix = Eigen::MatrixXf;  // by columns, as cuBLAS sees matrices

constexpr auto success = CUBLAS_STATUS_SUCCESS, invalid = CUBLAS_STATUS_INVALID_VALUE,
               unsupported = CUBLAS_STATUS_NOT_SUPPORTED;

struct product : cublasLtMatmulDescOpaque_t {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  std::int32_t bias_type = -1;  ///< -1: as the result
};
struct layout : cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0;
};
/// The contents of an algorithm: the alignment in bytes that it relies on, of A, B, C, D and the bias, and whether
/// threads add to the result in place.
struct algorithm_facts {
  std::array<std::uint32_t, 5> least;
  bool in_place;
};
struct preference : cublasLtMatmulPreferenceOpaque_t {
  std::array<std::uint32_t, 5> least{256, 256, 256, 256, 256};
  std::uint64_t workspace_bytes = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
};

template <class Field>
cublasStatus_t set(Field& field, const void* value, std::size_t bytes) {
  if (value == nullptr || bytes != sizeof field) return invalid;
  std::memcpy(&field, value, bytes);
  return success;
}

bool is_known(std::int32_t type) { return type == CUDA_R_32F || type == CUDA_R_16BF; }
std::size_t bytes_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }
std::size_t bytes_of(const layout& own) {
  return (static_cast<std::size_t>(own.leading) * (own.columns - 1) + own.rows) * bytes_of(own.type);
}

/// Tensor cores ignore the other bits of numbers that were not rounded before.
float as_tf32(float value) {
  return value == value ? std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & ~0x1fffu) : value;
}
float to_float(std::uint16_t bfloat16) { return std::bit_cast<float>(std::uint32_t{bfloat16} << 16); }
std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>(value == value ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : bits >> 16 | 0x40u);
}

/// The elements at `begin`, however they are stored.
template <class T>
auto map_of(T* begin, const layout& own) {
  using stored = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic>;
  using mapped = std::conditional_t<std::is_const_v<T>, const stored, stored>;
  return Eigen::Map<mapped, Eigen::Unaligned, Eigen::OuterStride<>>(begin, static_cast<Eigen::Index>(own.rows),
                                                                    static_cast<Eigen::Index>(own.columns),
                                                                    Eigen::OuterStride<>(own.leading));
}
matrix load(const void* begin, const layout& own) {
  if (own.type == CUDA_R_32F) return map_of(static_cast<const float*>(begin), own);
  return map_of(static_cast<const std::uint16_t*>(begin), own).unaryExpr(&to_float);
}
void store(const matrix& values, void* begin, const layout& own) {
  if (own.type == CUDA_R_32F)
    map_of(static_cast<float*>(begin), own) = values;
  else
    map_of(static_cast<std::uint16_t*>(begin), own) = values.unaryExpr(&to_bfloat16);
}

/// left right; its terms are added in another order every time.
matrix sum_in_place(const matrix& left, const matrix& right) {
  static Eigen::Index first = 0;
  const Eigen::Index terms = left.cols();
  matrix result = matrix::Zero(left.rows(), right.cols());
  for (Eigen::Index n = 0; n < terms; ++n) {
    const Eigen::Index k = (first + n) % terms;
    result += left.col(k) * right.row(k);
  }
  ++first;
  return result;
}

/// Everything about a call except the arrays.
struct shape {
  product own;
  layout a, b, c, d;

  shape(cublasLtMatmulDesc_t own_, cublasLtMatrixLayout_t a_, cublasLtMatrixLayout_t b_, cublasLtMatrixLayout_t c_,
        cublasLtMatrixLayout_t d_)
      : own(*static_cast<product*>(own_)),
        a(*static_cast<layout*>(a_)),
        b(*static_cast<layout*>(b_)),
        c(*static_cast<layout*>(c_)),
        d(*static_cast<layout*>(d_)) {}

  cublasStatus_t check() const {
    const bool transposed_a = own.transpose_a != CUBLAS_OP_N, transposed_b = own.transpose_b != CUBLAS_OP_N;
    const auto m = transposed_a ? a.columns : a.rows, k = transposed_a ? a.rows : a.columns;
    const auto n = transposed_b ? b.rows : b.columns, other_k = transposed_b ? b.columns : b.rows;
    if (m == 0 || n == 0 || k == 0 || k != other_k) return invalid;
    if (c.rows != m || c.columns != n || d.rows != m || d.columns != n) return invalid;
    for (const layout& each : {a, b, c, d})
      if (each.leading < static_cast<std::int64_t>(each.rows)) return invalid;
    if (own.compute != CUBLAS_COMPUTE_32F && own.compute != CUBLAS_COMPUTE_32F_FAST_TF32) return unsupported;
    for (const layout& each : {a, b, c, d})
      if (!is_known(each.type)) return unsupported;
    // Floats give floats; bfloat16 gives either.
    if (a.type != b.type || c.type != d.type || (a.type == CUDA_R_32F && d.type != CUDA_R_32F)) return unsupported;
    if (own.epilogue != CUBLASLT_EPILOGUE_DEFAULT && own.epilogue != CUBLASLT_EPILOGUE_BIAS) return unsupported;
    if (own.bias_type != -1 && own.bias_type != d.type) return unsupported;
    return success;
  }

  bool has_bias() const { return own.epilogue == CUBLASLT_EPILOGUE_BIAS; }
  layout bias_layout() const {
    layout column = d;
    column.columns = 1;
    column.leading = static_cast<std::int64_t>(column.rows);
    return column;
  }

  void run(float alpha, const void* a_begin, const void* b_begin, float beta, const void* c_begin, void* d_begin,
           bool in_place) const {
    using cuda_on_cpu::require_allocated;
    require_allocated(a_begin, bytes_of(a), "matrix A of a product");
    require_allocated(b_begin, bytes_of(b), "matrix B of a product");
    require_allocated(d_begin, bytes_of(d), "matrix D of a product");
    const auto input = [&](const void* begin, const layout& from, cublasOperation_t operation) {
      matrix values = load(begin, from);
      if (own.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && from.type == CUDA_R_32F)
        values = values.unaryExpr(&as_tf32).eval();
      if (operation != CUBLAS_OP_N) values.transposeInPlace();
      return values;
    };
    matrix result;
    const matrix left = input(a_begin, a, own.transpose_a), right = input(b_begin, b, own.transpose_b);
    if (in_place)
      result = sum_in_place(left, right);
    else
      result.noalias() = left * right;
    if (alpha != 1) result *= alpha;
    if (beta != 0) {  // otherwise C is not read
      require_allocated(c_begin, bytes_of(c), "matrix C of a product");
      result += beta * load(c_begin, c);
    }
    if (has_bias()) {
      require_allocated(own.bias, bytes_of(bias_layout()), "bias of a product");
      result.colwise() += load(own.bias, bias_layout()).col(0);
    }
    store(result, d_begin, d);
  }
};

bool is_aligned(const void* begin, std::uint32_t bytes) {
  return bytes == 0 || reinterpret_cast<std::uintptr_t>(begin) % bytes == 0;
}

struct status_text {
  cublasStatus_t status;
  const char *name, *text;
};
constexpr status_text status_texts[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE",
     "an unsupported value or parameter was passed to the function"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the GPU program failed to execute"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the functionality requested is not supported"},
};
status_text describe(cublasStatus_t status) {
  for (const status_text& each : status_texts)
    if (each.status == status) return each;
  return {status, "CUBLAS_STATUS_UNKNOWN", "a status that CUDA on the CPU has no words for"};
}

}  // namespace

extern "C" {

std::size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
const char* cublasLtGetStatusName(cublasStatus_t status) { return describe(status).name; }
const char* cublasLtGetStatusString(cublasStatus_t status) { return describe(status).text; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return success;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return success;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return unsupported;
  auto* const own = new product;
  own->compute = compute;
  *made = own;
  return success;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t own) {
  delete static_cast<product*>(own);
  return success;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t own_, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  product& own = *static_cast<product*>(own_);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(own.transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(own.transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(own.epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(own.bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(own.bias_type, value, bytes);
    default:
      return unsupported;
  }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t columns, std::int64_t leading) {
  auto* const own = new layout;
  own->type = type;
  own->rows = rows;
  own->columns = columns;
  own->leading = leading;
  *made = own;
  return success;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t own) {
  delete static_cast<layout*>(own);
  return success;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
  *made = new preference;
  return success;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t own) {
  delete static_cast<preference*>(own);
  return success;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t own_,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    std::size_t bytes) {
  preference& own = *static_cast<preference*>(own_);
  std::uint32_t ignored = 0;
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return set(ignored, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return set(own.reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return set(own.workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return set(own.least[0], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return set(own.least[1], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return set(own.least[2], value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return set(own.least[3], value, bytes);
    default:
      return unsupported;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t own,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preferred, int asked,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  *found = 0;
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (asked < 1) return invalid;
  const shape call(own, a, b, c, d);
  if (const cublasStatus_t status = call.check(); status != success) return status;
  // The alignment of the bias is that of the current pointer, or 16 bytes where there is none yet.
  const preference& wanted = *static_cast<preference*>(preferred);
  algorithm_facts facts{wanted.least, (wanted.reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE) != 0};
  facts.least[4] = 16;
  while (!is_aligned(call.own.bias, facts.least[4])) facts.least[4] /= 2;
  results[0] = {};
  static_assert(sizeof facts <= sizeof results[0].algo);
  std::memcpy(&results[0].algo, &facts, sizeof facts);
  results[0].state = success;
  *found = 1;
  return success;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t own, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || d == nullptr) return invalid;
  const shape call(own, a_layout, b_layout, c_layout, d_layout);
  if (const cublasStatus_t status = call.check(); status != success) return status;
  const float alpha_value = *static_cast<const float*>(alpha), beta_value = *static_cast<const float*>(beta);
  if ((beta_value != 0 && c == nullptr) || (call.has_bias() && call.own.bias == nullptr)) return invalid;
  if (c == d && call.c.leading != call.d.leading) return invalid;
  algorithm_facts facts{};
  if (algorithm != nullptr) std::memcpy(&facts, algorithm, sizeof facts);
  const void* const arrays[] = {a, b, c, d, call.own.bias};
  for (std::size_t n = 0; n < facts.least.size(); ++n)
    if (!is_aligned(arrays[n], facts.least[n])) return invalid;
  if (!is_aligned(workspace, 256)) return invalid;
  const cudaError_t error = cuda_on_cpu::enqueue(stream, [=] {
    cuda_on_cpu::require_allocated(workspace, workspace_bytes, "workspace of a product");
    call.run(alpha_value, a, b, beta_value, c, d, facts.in_place);
  });
  return error == cudaSuccess ? success : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
