// A stand-in for the part of libcublasLt.so.13 that a transformer's linear layers use: D = alpha
// op(A) op(B) + beta C, inputs bf16 or f32, output bf16 or f32, sums in f32; column-major layouts.
// Anything else is CUBLAS_STATUS_NOT_SUPPORTED. Test code only.
//
// As in cuBLAS, how a sum is split depends on the shape: results are not bit-equal across batch
// sizes, so that nobody comes to rely on it. The workspace is overwritten.
#include <cublasLt.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "standin.h"

namespace {

struct Layout {
  cudaDataType type;
  uint64_t rows, cols;
  int64_t ld;
  int32_t batch = 1;
  int64_t stride = 0;
};
struct Product {
  cublasComputeType_t compute;
  cudaDataType scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
};
struct Preference {
  size_t workspace = 0;
};

// The opaque structs of cublasLt are larger than these.
template <class T, class H>
T& As(H handle) {
  return *reinterpret_cast<T*>(handle->data);
}
template <class T, class H>
const T& AsConst(const H* handle) {
  return *reinterpret_cast<const T*>(handle->data);
}

size_t SizeOf(cudaDataType t) { return t == CUDA_R_32F ? 4 : 2; }
float Load(const void* p, size_t i, cudaDataType t) {
  if (t == CUDA_R_32F) return static_cast<const float*>(p)[i];
  const uint32_t bits = uint32_t{static_cast<const uint16_t*>(p)[i]} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
void Store(void* p, size_t i, cudaDataType t, float f) {
  if (t == CUDA_R_32F) {
    static_cast<float*>(p)[i] = f;
    return;
  }
  uint32_t x;
  std::memcpy(&x, &f, 4);
  static_cast<uint16_t*>(p)[i] =
      f != f ? 0x7fff : static_cast<uint16_t>((x + 0x7fff + (x >> 16 & 1)) >> 16);
}

// op(X) row by row, as floats.
std::vector<float> Rows(const void* p, const Layout& l, bool transposed) {
  const size_t rows = transposed ? l.cols : l.rows, cols = transposed ? l.rows : l.cols;
  std::vector<float> out(rows * cols);
  if (transposed && l.type == CUDA_R_16BF) {  // the usual case: rows are contiguous
    for (size_t r = 0; r < rows; ++r) {
      const uint16_t* from = static_cast<const uint16_t*>(p) + r * l.ld;
      uint32_t* to = reinterpret_cast<uint32_t*>(&out[r * cols]);
      for (size_t c = 0; c < cols; ++c) to[c] = uint32_t{from[c]} << 16;
    }
    return out;
  }
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < cols; ++c) {
      out[r * cols + c] = Load(p, transposed ? c + r * l.ld : r + c * l.ld, l.type);
    }
  }
  return out;
}

float Dot(const float* a, const float* b, size_t n) {
  float sums[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) sums[j] = std::fma(a[i + j], b[i + j], sums[j]);
  }
  float total = 0;
  for (float s : sums) total += s;
  for (; i < n; ++i) total = std::fma(a[i], b[i], total);
  return total;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) {
  if (cudaStandinInjected(__func__)) return CUBLAS_STATUS_NOT_INITIALIZED;
  *h = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) {
  delete reinterpret_cast<int*>(h);
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 130100; }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
  *l = new cublasLtMatrixLayoutOpaque_t{};
  As<Layout>(*l) = {type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete l;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t a, const void* v,
                                                size_t) {
  switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      std::memcpy(&As<Layout>(l).rows, v, 8);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      std::memcpy(&As<Layout>(l).cols, v, 8);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATRIX_LAYOUT_LD:
      std::memcpy(&As<Layout>(l).ld, v, 8);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      std::memcpy(&As<Layout>(l).batch, v, 4);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      std::memcpy(&As<Layout>(l).stride, v, 8);
      return CUBLAS_STATUS_SUCCESS;
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *d = new cublasLtMatmulDescOpaque_t{};
  As<Product>(*d) = {compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete d;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a, const void* v,
                                              size_t) {
  switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      std::memcpy(&As<Product>(d).a, v, 4);
      return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      std::memcpy(&As<Product>(d).b, v, 4);
      return CUBLAS_STATUS_SUCCESS;
    default:
      return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  *p = new cublasLtMatmulPreferenceOpaque_t{};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete p;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t a,
                                                    const void* v, size_t) {
  if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    std::memcpy(&As<Preference>(p).workspace, v, 8);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t dd,
                                              cublasLtMatmulPreference_t p, int,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  if (cudaStandinInjected(__func__)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *found = 0;
  const Product& product = As<Product>(d);
  const Layout &la = As<Layout>(a), &lb = As<Layout>(b), &lc = As<Layout>(c), &ld = As<Layout>(dd);
  const bool types = product.compute == CUBLAS_COMPUTE_32F && product.scale == CUDA_R_32F &&
                     la.type == lb.type && lc.type == ld.type &&
                     (la.type == CUDA_R_16BF || la.type == CUDA_R_32F) &&
                     (ld.type == CUDA_R_16BF || ld.type == CUDA_R_32F) &&
                     !(la.type == CUDA_R_32F && ld.type != CUDA_R_32F);
  // Tensor cores want 16 bytes.
  const bool aligned = la.type == CUDA_R_32F ||
                       (la.ld % 8 == 0 && lb.ld % 8 == 0 && ld.ld * SizeOf(ld.type) % 16 == 0);
  if (!types || !aligned || la.batch != 1 || product.epilogue != CUBLASLT_EPILOGUE_DEFAULT)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  std::memset(&results[0], 0, sizeof results[0]);
  results[0].algo.data[0] = ld.cols <= 4 ? 4 : ld.cols <= 32 ? 2 : 1;  // parts that K is split into
  results[0].workspaceSize =
      std::min<size_t>(As<Preference>(p).workspace, results[0].algo.data[0] > 1 ? 1 << 16 : 0);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t al, const void* B,
                              cublasLtMatrixLayout_t bl, const void* beta, const void* C,
                              cublasLtMatrixLayout_t cl, void* D, cublasLtMatrixLayout_t dl,
                              const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (cudaStandinInjected(__func__)) return CUBLAS_STATUS_EXECUTION_FAILED;
  const Product p = As<Product>(desc);
  const Layout a = As<Layout>(al), b = As<Layout>(bl), c = As<Layout>(cl), d = As<Layout>(dl);
  const uint64_t m = d.rows, n = d.cols, k = p.a == CUBLAS_OP_N ? a.cols : a.rows;
  if ((p.a == CUBLAS_OP_N ? a.rows : a.cols) != m || (p.b == CUBLAS_OP_N ? b.cols : b.rows) != n ||
      (p.b == CUBLAS_OP_N ? b.rows : b.cols) != k)
    return CUBLAS_STATUS_INVALID_VALUE;
  const float al_ = *static_cast<const float*>(alpha), be = *static_cast<const float*>(beta);
  const auto span = [](const Layout& l) { return ((l.cols - 1) * l.ld + l.rows) * SizeOf(l.type); };
  const char* pa = static_cast<const char*>(cudaStandinBytes(A, span(a)));
  const char* pb = static_cast<const char*>(cudaStandinBytes(B, span(b)));
  const char* pc = static_cast<const char*>(be == 0 ? nullptr : cudaStandinBytes(C, span(c)));
  char* pd = static_cast<char*>(cudaStandinBytes(D, span(d)));
  char* pw = workspace_bytes == 0
                 ? nullptr
                 : static_cast<char*>(cudaStandinBytes(workspace, workspace_bytes));
  if (pa == nullptr || pb == nullptr || pd == nullptr || (be != 0 && pc == nullptr) ||
      (workspace_bytes != 0 && pw == nullptr))
    return CUBLAS_STATUS_INVALID_VALUE;
  const uint64_t parts = algo == nullptr ? 1 : algo->data[0];
  if (parts == 0 || parts > 4) return CUBLAS_STATUS_INVALID_VALUE;
  std::function<cudaError_t()> work = [=] {
    if (pw != nullptr) std::memset(pw, 0xff, workspace_bytes);
    const std::vector<float> wa = Rows(pa, a, p.a != CUBLAS_OP_N);  // [m][k]
    const std::vector<float> wb = Rows(pb, b, p.b == CUBLAS_OP_N);  // [n][k]
    const uint64_t step = (k + parts - 1) / parts;
    for (uint64_t j = 0; j < n; ++j) {
      for (uint64_t i = 0; i < m; ++i) {
        float sum = 0;
        for (uint64_t q = 0; q < k; q += step)
          sum += Dot(&wa[i * k + q], &wb[j * k + q], std::min(step, k - q));
        float y = al_ * sum;
        if (be != 0) y = std::fma(be, Load(pc, i + j * c.ld, c.type), y);
        Store(pd, i + j * d.ld, d.type, y);
      }
    }
    return cudaSuccess;
  };
  return cudaStandinEnqueue(stream, "cublasLtMatmul", &work) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
