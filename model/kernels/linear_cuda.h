// Linear layers on a device: y[t][n] = sum_k x[t][k] w[n][k] (+ bias[n]), f32 sums.
//
// K is divided at places that depend on the matrix alone, and parts are added in order: an output's
// bits do not depend on the number of rows. bf16 by bf16 runs on tensor cores where the depth is a
// multiple of 8 and rows of x begin at 16-byte boundaries, everything else as f32 fused
// multiply-adds, which have other bits. This is for up to some 64 rows, where the weights' bytes
// decide; for more it is right, and slower than cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::kernels::cuda {

struct LinearShape {
  int outputs = 0;
  int depth = 0;  // k
};

struct LinearArgs {
  LinearShape shape;
  const void* w = nullptr;  // [outputs][depth], 16-byte aligned
  DeviceFloat w_type = DeviceFloat::kBF16;
  const void* x = nullptr;  // [rows][x_stride]
  DeviceFloat x_type = DeviceFloat::kBF16;
  size_t x_stride = 0;
  const float* bias = nullptr;  // [outputs], or null
  float* y = nullptr;           // [rows][y_stride]
  size_t y_stride = 0;
  bool add = false;  // y += the product, else y = it
  int rows = 0;
  float* scratch = nullptr;  // LinearScratchFloats(shape, rows)
};
// Enough for fewer rows, too. It grows up to 64 rows.
size_t LinearScratchFloats(const LinearShape& shape, int rows);
cudaError_t Linear(const LinearArgs& args, cudaStream_t stream);

// What Linear leaves in scratch for a second launch that adds it up, where blocks share the depth;
// else none (count 0). LinearInParts, where there are any, is Linear without that launch: y stays
// as it is, for the caller to make of the parts.
RowParts PartsOf(const LinearArgs& args);
cudaError_t LinearInParts(const LinearArgs& args, cudaStream_t stream);

// Several matrices of one shape, each on rows of its own: group g has rows [first_row[g],
// first_row[g + 1]) of x and y, which only the device knows. Weights of groups without rows are not
// read. A row's bits are those of Linear.
struct GroupedLinearArgs {
  LinearShape shape;
  const void* const* w = nullptr;  // [groups] on the device, of matrices as above
  DeviceFloat w_type = DeviceFloat::kBF16;
  const void* x = nullptr;
  DeviceFloat x_type = DeviceFloat::kBF16;
  size_t x_stride = 0;
  float* y = nullptr;
  size_t y_stride = 0;
  const int32_t* first_row = nullptr;  // [groups + 1] on the device
  int groups = 0;
  int max_rows = 0;          // of all groups together
  float* scratch = nullptr;  // LinearScratchFloats(shape, max_rows)
};
cudaError_t GroupedLinear(const GroupedLinearArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
