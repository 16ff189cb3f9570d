#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>

namespace standin {

// What the library's opaque descriptors hold. Matrices are column-major.
struct Layout {
  cudaDataType type = CUDA_R_32F;
  int32_t order = CUBLASLT_ORDER_COL;
  uint64_t rows = 0, cols = 0;
  int64_t ld = 0;
  int32_t batch = 1;
  int64_t stride = 0;  // between the matrices of a batch, in elements

  size_t element() const { return type == CUDA_R_32F ? 4 : 2; }
  // Of one matrix, from its first element to its last.
  size_t bytes() const { return rows * cols == 0 ? 0 : ((cols - 1) * ld + rows) * element(); }
};

// D = alpha op(A) op(B) + beta C, and a bias for each row of D.
struct Product {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N, c = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int32_t bias_type = -1;  // -1: D's
};

struct Preference {
  size_t workspace = 0;
  // Of the pointers, in bytes.
  uint32_t alignment_a = 256, alignment_b = 256, alignment_c = 256, alignment_d = 256;
};

// How a product is computed.
struct Algorithm {
  uint64_t parts = 0;      // that K is split into
  uint64_t alignment = 0;  // of all pointers, in bytes
  uint64_t workspace = 0;  // bytes
};

// The opaque structs of cublasLt are larger than these.
template <typename T, typename Opaque>
T& In(Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(opaque->data));
  return *reinterpret_cast<T*>(opaque->data);
}
template <typename T, typename Opaque>
const T& In(const Opaque* opaque) {
  static_assert(sizeof(T) <= sizeof(opaque->data));
  return *reinterpret_cast<const T*>(opaque->data);
}

}  // namespace standin
