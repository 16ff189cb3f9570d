// Rows whose sums are still in parts: of an experts layer's heads, or of the pieces of a matrix's
// depth that blocks had each.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace peerage::kernels::cuda {

// Row t is ((part 0 + part 1) + part 2) ... + bias, in this order.
struct RowParts {
  const float* parts =
      nullptr;  // part p of row t begins p * part_stride + t * row_stride behind it
  size_t part_stride = 0;
  size_t row_stride = 0;
  int count = 0;                // of parts; 0: there is nothing to add
  const float* bias = nullptr;  // [width], or null
};

// Rows that something is added to.
struct SumRows {
  float* x = nullptr;  // [count][width]
  int count = 0;
  int width = 0;
};
// x[t] += row t.
cudaError_t AddRows(const SumRows& rows, const RowParts& added, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
