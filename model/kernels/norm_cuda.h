// RMS norm (Zhang and Sennrich 2019) and layer norm (Ba et al. 2016) without subtraction of
// anything but the mean; as model/kernels/norm.h has them.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::kernels::cuda {

// y[i] = norm(x[rows[i]] + added[rows[i]]) * weight + bias. Sums are f32. In place where the types
// and strides of x and y are equal and no rows are picked.
struct NormArgs {
  bool layer_norm = false;  // else RMS norm
  const void* x = nullptr;  // [*][x_stride]
  DeviceFloat x_type = DeviceFloat::kF32;
  size_t x_stride = 0;
  RowParts added;         // with x of f32 alone: in the bits of AddRows before this
  float* sums = nullptr;  // [*][x_stride]: x + added, if not null; x itself may be replaced. No row
                          // is picked twice then.
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width], or null
  const int32_t* rows = nullptr;  // [count], rows of x, -1: zeros; null: all, in order
  void* y = nullptr;              // [count][y_stride]
  DeviceFloat y_type = DeviceFloat::kBF16;
  size_t y_stride = 0;
  float epsilon = 1e-5f;
  int count = 0;
  int width = 0;
};
cudaError_t Norm(const NormArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
