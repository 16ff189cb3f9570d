// cuBLASLt's handles and descriptors: made, described and destroyed. An attribute that is not known
// is refused.
#include <cstring>
#include <new>

#include "descriptors.h"
#include "standin.h"

using namespace standin;

namespace {

// Copies an attribute's value into a field of the same size, or out of it.
template <typename T>
cublasStatus_t Put(T& field, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&field, value, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}
template <typename T>
cublasStatus_t Give(const T& field, void* value, size_t bytes, size_t* written) {
  if (written != nullptr) *written = sizeof(T);
  if (value == nullptr || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(value, &field, sizeof(T));
  return CUBLAS_STATUS_SUCCESS;
}

// Calls `body` with the field that an attribute names.
template <typename LayoutOrConst, typename Body>
cublasStatus_t WithField(LayoutOrConst& l, cublasLtMatrixLayoutAttribute_t attribute, Body body) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return body(l.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return body(l.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return body(l.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return body(l.cols);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return body(l.ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return body(l.batch);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return body(l.stride);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}
template <typename ProductOrConst, typename Body>
cublasStatus_t WithField(ProductOrConst& p, cublasLtMatmulDescAttributes_t attribute, Body body) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return body(p.compute);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return body(p.scale);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return body(p.pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return body(p.a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return body(p.b);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return body(p.c);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return body(p.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return body(p.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return body(p.bias_type);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}
template <typename Body>
cublasStatus_t WithField(Preference& p, cublasLtMatmulPreferenceAttributes_t attribute, Body body) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return body(p.workspace);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return body(p.alignment_a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return body(p.alignment_b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return body(p.alignment_c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return body(p.alignment_d);
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

// A descriptor of its own, or in the caller's memory.
template <typename T, typename Opaque>
cublasStatus_t Create(Opaque** out, const T& value) {
  *out = new Opaque{};
  new ((*out)->data) T(value);
  return CUBLAS_STATUS_SUCCESS;
}
template <typename T, typename Opaque>
cublasStatus_t Init(Opaque* opaque, size_t bytes, const T& value) {
  if (bytes < sizeof(Opaque)) return CUBLAS_STATUS_INVALID_VALUE;
  *opaque = {};
  new (opaque->data) T(value);
  return CUBLAS_STATUS_SUCCESS;
}
template <typename Opaque>
cublasStatus_t Destroy(Opaque* opaque) {
  delete opaque;
  return CUBLAS_STATUS_SUCCESS;
}

Layout MakeLayout(cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld) {
  Layout layout;
  layout.type = type;
  layout.rows = rows;
  layout.cols = cols;
  layout.ld = ld;
  return layout;
}
Product MakeProduct(cublasComputeType_t compute, cudaDataType scale) {
  Product product;
  product.compute = compute;
  product.scale = scale;
  return product;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (const int injected = cudaStandinInjected(__func__)) {
    return static_cast<cublasStatus_t>(injected);
  }
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  return Create(l, MakeLayout(type, rows, cols, ld));
}
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, size_t bytes,
                                                 cudaDataType type, uint64_t rows, uint64_t cols,
                                                 int64_t ld) {
  return Init(l, bytes, MakeLayout(type, rows, cols, ld));
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return Destroy(l); }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return WithField(In<Layout>(l), attribute, [&](auto& field) { return Put(field, value, bytes); });
}
cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                void* value, size_t bytes, size_t* written) {
  return WithField(In<Layout>(l), attribute,
                   [&](auto& field) { return Give(field, value, bytes, written); });
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute,
                                        cudaDataType scale) {
  return Create(d, MakeProduct(compute, scale));
}
cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t d, size_t bytes,
                                               cublasComputeType_t compute, cudaDataType scale) {
  return Init(d, bytes, MakeProduct(compute, scale));
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return Destroy(d); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  return WithField(In<Product>(d), attribute,
                   [&](auto& field) { return Put(field, value, bytes); });
}
cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t attribute, void* value,
                                              size_t bytes, size_t* written) {
  return WithField(In<Product>(d), attribute,
                   [&](auto& field) { return Give(field, value, bytes, written); });
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  return Create(p, Preference());
}
cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, size_t bytes) {
  return Init(p, bytes, Preference());
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return Destroy(p); }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return WithField(In<Preference>(p), attribute,
                   [&](auto& field) { return Put(field, value, bytes); });
}

}  // extern "C"
