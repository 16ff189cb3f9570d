#include "model/nn/cuda/matmul.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace peerage::nn::cuda {
namespace {

absl::Status ToStatus(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, ": cuBLASLt status ", static_cast<int>(status)));
}

cudaDataType DataType(DeviceFloat type) {
  return type == DeviceFloat::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

}  // namespace

#define RETURN_IF_CUBLAS_ERROR(call) RETURN_IF_ERROR(ToStatus((call), #call))

absl::StatusOr<Matmul> Matmul::Make(uint8_t* workspace) {
  Matmul matmul;
  matmul.workspace_ = workspace;
  RETURN_IF_CUBLAS_ERROR(cublasLtCreate(&matmul.handle_));
  return matmul;
}

Matmul::Matmul(Matmul&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      workspace_(other.workspace_),
      plans_(std::exchange(other.plans_, {})) {}

Matmul::~Matmul() {
  for (auto& [shape, plan] : plans_) {
    cublasLtMatmulDescDestroy(plan.product);
    for (cublasLtMatrixLayout_t layout : {plan.w, plan.x, plan.y}) {
      cublasLtMatrixLayoutDestroy(layout);
    }
  }
  if (handle_ != nullptr) cublasLtDestroy(handle_);
}

// Tensor cores want 16 bytes.
bool Matmul::Takes(const Matrix& w, DeviceFloat x_type, size_t y_stride) {
  return w.type == x_type && w.depth % 8 == 0 && w.outputs % 8 == 0 && y_stride % 4 == 0;
}

// Matrices of rows are cuBLAS's matrices of columns, transposed: y^T [n][t] = (w^T)^T x^T.
absl::StatusOr<const Matmul::Plan*> Matmul::PlanOf(const Args& args) {
  const Matrix& w = args.w;
  const Shape shape{w.type, w.outputs, w.depth, args.rows, args.y_stride};
  if (const auto found = plans_.find(shape); found != plans_.end()) return &found->second;
  Plan plan;
  const cublasOperation_t transposed = CUBLAS_OP_T;
  const cudaDataType type = DataType(w.type);
  RETURN_IF_CUBLAS_ERROR(cublasLtMatmulDescCreate(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  RETURN_IF_CUBLAS_ERROR(cublasLtMatmulDescSetAttribute(plan.product, CUBLASLT_MATMUL_DESC_TRANSA,
                                                        &transposed, sizeof transposed));
  RETURN_IF_CUBLAS_ERROR(cublasLtMatrixLayoutCreate(&plan.w, type, w.depth, w.outputs, w.depth));
  RETURN_IF_CUBLAS_ERROR(cublasLtMatrixLayoutCreate(&plan.x, type, w.depth, args.rows, w.depth));
  RETURN_IF_CUBLAS_ERROR(cublasLtMatrixLayoutCreate(&plan.y, CUDA_R_32F, w.outputs, args.rows,
                                                    static_cast<int64_t>(args.y_stride)));
  cublasLtMatmulPreference_t preference = nullptr;
  RETURN_IF_CUBLAS_ERROR(cublasLtMatmulPreferenceCreate(&preference));
  cublasStatus_t status =
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &kWorkspaceBytes, sizeof kWorkspaceBytes);
  cublasLtMatmulHeuristicResult_t best = {};
  int found = 0;
  if (status == CUBLAS_STATUS_SUCCESS) {
    status = cublasLtMatmulAlgoGetHeuristic(handle_, plan.product, plan.w, plan.x, plan.y, plan.y,
                                            preference, 1, &best, &found);
  }
  cublasLtMatmulPreferenceDestroy(preference);
  RETURN_IF_CUBLAS_ERROR(status);
  if (found == 0) {
    return absl::InternalError(absl::StrCat("cuBLASLt has no algorithm for [", args.rows, " x ",
                                            w.depth, "] by [", w.outputs, " x ", w.depth, "]"));
  }
  plan.algorithm = best.algo;
  return &plans_.emplace(shape, plan).first->second;
}

absl::Status Matmul::Run(const Args& args, cudaStream_t stream) {
  ASSIGN_OR_RETURN(const Plan* plan, PlanOf(args));
  const float one = 1, beta = args.add ? 1 : 0;
  return ToStatus(cublasLtMatmul(handle_, plan->product, &one, args.w.data, plan->w, args.x,
                                 plan->x, &beta, args.y, plan->y, args.y, plan->y, &plan->algorithm,
                                 workspace_, kWorkspaceBytes, stream),
                  "cublasLtMatmul");
}

}  // namespace peerage::nn::cuda
