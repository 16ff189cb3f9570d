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

// What a caller gives beside the problem.
struct Arguments {
  const void *alpha, *a, *b, *beta, *c, *d;
  const cublasLtMatmulAlgo_t* algo;
  void* workspace;
  size_t workspace_bytes;
};

Algorithm AlgorithmOf(const Problem& problem, const Arguments& arguments) {
  if (arguments.algo != nullptr) return In<Algorithm>(arguments.algo);
  Preference preference;
  preference.workspace = arguments.workspace_bytes;
  return Choose(problem, preference);
}

Multiplication MakeWork(const Problem& p, const Arguments& x) {
  Multiplication work{p.product, {x.a, p.a}, {x.b, p.b}, {}, {x.d, p.d}};
  work.alpha = *static_cast<const float*>(x.alpha);
  work.beta = *static_cast<const float*>(x.beta);
  work.c = work.beta == 0 ? work.d : Operand(x.c, p.c);
  work.algorithm = AlgorithmOf(p, x);
  if (p.product.epilogue == CUBLASLT_EPILOGUE_BIAS) {
    const size_t bytes = p.d.rows * p.d.element();
    work.bias = static_cast<const char*>(cudaStandinBytes(p.product.bias, bytes));
  }
  if (work.algorithm.workspace != 0) {
    work.workspace = static_cast<char*>(cudaStandinBytes(x.workspace, work.algorithm.workspace));
  }
  return work;
}

cublasStatus_t Check(const Multiplication& work, const Arguments& x) {
  const Algorithm& algorithm = work.algorithm;
  for (const Operand* operand : {&work.a, &work.b, &work.c, &work.d}) {
    if (operand->host == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool wants_bias = work.product.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (algorithm.parts == 0 || algorithm.parts > 4 || (wants_bias && work.bias == nullptr) ||
      algorithm.workspace > x.workspace_bytes ||
      (algorithm.workspace != 0 && work.workspace == nullptr) || !IsAligned(x.workspace, 256)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (const Operand* operand : {&work.a, &work.b, &work.c, &work.d}) {
    if (!IsAligned(operand->device, algorithm.alignment)) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return CUBLAS_STATUS_SUCCESS;
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
  const Arguments arguments{alpha, A, B, beta, C, D, algo, workspace, workspace_bytes};
  const Multiplication work = MakeWork(problem, arguments);
  if (const cublasStatus_t wrong = Check(work, arguments); wrong != CUBLAS_STATUS_SUCCESS) {
    return wrong;
  }
  std::function<cudaError_t()> run = [work] { return work.Run(); };
  return cudaStandinEnqueue(stream, "cublasLtMatmul", &run) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
