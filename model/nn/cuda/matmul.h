#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/nn/cuda/weights.h"

namespace peerage::nn::cuda {

// Products of many rows by cuBLASLt. Which algorithm runs depends on the number of rows, so a row's
// bits may depend on how many others there are.
class Matmul {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  struct Args {
    Matrix w;
    const void* x = nullptr;  // [rows][depth], of w's type
    float* y = nullptr;       // [rows][y_stride]
    size_t y_stride = 0;
    bool add = false;
    int rows = 0;
  };

  // `workspace` has kWorkspaceBytes on the device, and outlives it.
  static absl::StatusOr<Matmul> Make(uint8_t* workspace);
  Matmul(Matmul&& other) noexcept;
  ~Matmul();

  // Whether cuBLASLt takes rows of this width.
  static bool Takes(const Matrix& w, DeviceFloat x_type, size_t y_stride);

  absl::Status Run(const Args& args, cudaStream_t stream);

 private:
  // What cuBLASLt wants to know of one shape.
  struct Plan {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t w = nullptr, x = nullptr, y = nullptr;
    cublasLtMatmulAlgo_t algorithm = {};
  };
  using Shape =
      std::tuple<DeviceFloat, int, int, int, size_t>;  // type, outputs, depth, rows, stride

  Matmul() = default;
  absl::StatusOr<const Plan*> PlanOf(const Args& args);

  cublasLtHandle_t handle_ = nullptr;
  uint8_t* workspace_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace peerage::nn::cuda
