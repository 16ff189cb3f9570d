// A stand-in for the part of libcublasLt.so.13 that a transformer's linear layers use: D = alpha
// op(A) op(B) + beta C + bias, inputs bf16 or f32, output bf16 or f32, sums in f32, strided
// batches. Anything else is CUBLAS_STATUS_NOT_SUPPORTED. Test code only.
//
// As in cuBLAS, how a sum is split depends on the shape: results are not bit-equal across batch
// sizes, so that nobody comes to rely on it. The workspace is overwritten.
#include <functional>

#include "multiplication.h"
#include "problem.h"
#include "standin.h"

using namespace standin;

namespace {

bool IsAligned(const void* p, uint64_t alignment) {
  return reinterpret_cast<uintptr_t>(p) % alignment == 0;
}

}  // namespace

extern "C" {

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  if (const int injected = cudaStandinInjected(__func__)) {
    return static_cast<cublasStatus_t>(injected);
  }
  if (found == nullptr || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  *found = 0;
  const Problem problem{In<Product>(desc), In<Layout>(a), In<Layout>(b), In<Layout>(c),
                        In<Layout>(d)};
  if (!problem.IsValid()) return CUBLAS_STATUS_INVALID_VALUE;
  if (!problem.IsSupported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Algorithm algorithm = Choose(problem, In<Preference>(preference));
  results[0] = {};
  In<Algorithm>(&results[0].algo) = algorithm;
  results[0].workspaceSize = algorithm.workspace;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].wavesCount = 1;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* A, cublasLtMatrixLayout_t a, const void* B,
                              cublasLtMatrixLayout_t b, const void* beta, const void* C,
                              cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                              const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (const int injected = cudaStandinInjected(__func__)) {
    return static_cast<cublasStatus_t>(injected);
  }
  const Problem problem{In<Product>(desc), In<Layout>(a), In<Layout>(b), In<Layout>(c),
                        In<Layout>(d)};
  if (!problem.IsValid() || alpha == nullptr || beta == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!problem.IsSupported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  Preference own;
  own.workspace = workspace_bytes;
  Multiplication work{problem.product,
                      {A, problem.a},
                      {B, problem.b},
                      {},
                      {D, problem.d},
                      *static_cast<const float*>(alpha),
                      *static_cast<const float*>(beta),
                      algo == nullptr ? Choose(problem, own) : In<Algorithm>(algo)};
  work.c = work.beta == 0 ? work.d : Operand(C, problem.c);
  const bool wants_bias = problem.product.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (wants_bias) {
    work.bias = static_cast<const char*>(
        cudaStandinBytes(problem.product.bias, problem.d.rows * problem.d.element()));
  }
  if (work.algorithm.workspace != 0) {
    work.workspace = static_cast<char*>(cudaStandinBytes(workspace, work.algorithm.workspace));
  }
  if (work.algorithm.parts == 0 || work.algorithm.parts > 4 || work.a.host == nullptr ||
      work.b.host == nullptr || work.c.host == nullptr || work.d.host == nullptr ||
      (wants_bias && work.bias == nullptr) || work.algorithm.workspace > workspace_bytes ||
      (work.algorithm.workspace != 0 && work.workspace == nullptr) || !IsAligned(workspace, 256)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (const void* p : {A, B, static_cast<const void*>(D), work.beta == 0 ? D : C}) {
    if (!IsAligned(p, work.algorithm.alignment)) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  std::function<cudaError_t()> run = [work] {
    work.Run();
    return cudaSuccess;
  };
  return cudaStandinEnqueue(stream, "cublasLtMatmul", &run) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
