#pragma once

#include <cstddef>
#include <cstdint>

#include "model/kernels/device_float_cuda.h"

namespace peerage::nn::cuda {

using kernels::cuda::DeviceFloat;

// Where matrices and the rows that meet them begin: cuBLASLt takes it for given.
inline constexpr size_t kMatrixAlignment = 256;

// A matrix [outputs][depth] in device memory, rows side by side.
struct Matrix {
  const void* data = nullptr;
  DeviceFloat type = DeviceFloat::kBF16;
  int outputs = 0;
  int depth = 0;

  size_t Bytes() const { return size_t(outputs) * depth * kernels::cuda::BytesOf(type); }
};

// y = W x + bias.
struct LinearLayer {
  Matrix w;
  const float* bias = nullptr;  // [outputs], or none

  int outputs() const { return w.outputs; }
  int depth() const { return w.depth; }
};

// Sub-keys [sets][n][width]: two sets, or two for each head, head by head.
struct SubKeys {
  const void* data = nullptr;
  DeviceFloat type = DeviceFloat::kBF16;
  int sets = 0;
  int n = 0;
  int width = 0;
};

}  // namespace peerage::nn::cuda
