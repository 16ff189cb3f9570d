// RMS norm (Zhang and Sennrich 2019) and layer norm (Ba et al. 2016) without subtraction of
// anything but the mean; as model/kernels/norm.h has them.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::kernels::cuda {

// y[i] = norm(x[rows[i]]) * weight + bias. Sums are f32. In place where the types and strides of x
// and y are equal and no rows are picked.
struct NormArgs {
  bool layer_norm = false;  // else RMS norm
  const void* x = nullptr;  // [*][x_stride]
  DeviceFloat x_type = DeviceFloat::kF32;
  size_t x_stride = 0;
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width], or null
  const int32_t* rows = nullptr;  // [count], rows of x, -1: zeros; null: all, in order
  void* y = nullptr;              // [count][y_stride]
  DeviceFloat y_type = DeviceFloat::kBF16;
  size_t y_stride = 0;
  float* sums = nullptr;  // with NormOfSum: [*][x_stride] for x + added, x itself perhaps, or null;
                          // no row is picked twice then
  float epsilon = 1e-5f;
  int count = 0;
  int width = 0;
};
cudaError_t Norm(const NormArgs& args, cudaStream_t stream);

// y[i] = norm(x[rows[i]] + added[rows[i]]) * weight + bias, x of f32, in the bits of adding first.
cudaError_t NormOfSum(const NormArgs& args, const RowParts& added, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
