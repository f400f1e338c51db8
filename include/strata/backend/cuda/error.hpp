// Errors of the CUDA libraries as exceptions that name the call, the file and the line.
// Source: CUDA Runtime API, "Error Handling".
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI::device {

/// A file and a line, for messages; clang 14 has no std::source_location.
struct call_site {
  const char* file = "";
  int line = 0;
  static constexpr call_site current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// An argument and its call site, for functions that end in a parameter pack and so have no defaulted argument.
template <class T>
struct called_with {
  T value;
  call_site at;
  called_with(const T& given, const call_site& here = call_site::current()) : value(given), at(here) {}
};

inline void check(cudaError_t status, const char* call, const call_site& at) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // clears it: the next launch must not report it again
  fail("CUDA: ", call, " failed at ", at.file, ":", at.line, ": ", cudaGetErrorName(status), ", ",
       cudaGetErrorString(status));
}
inline void check(cublasStatus_t status, const char* call, const call_site& at) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail("cuBLASLt: ", call, " failed at ", at.file, ":", at.line, ": ", cublasLtGetStatusName(status), ", ",
       cublasLtGetStatusString(status));
}

}  // namespace strata::device

#define STRATA_CUDA(call) ::strata::device::check((call), #call, ::strata::device::call_site::current())
