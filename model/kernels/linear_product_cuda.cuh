// What the kernels of linear layers have in common: one product, or several of one shape whose rows
// only the device knows.
#pragma once

#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/linear_cuda.h"

namespace peerage::kernels::cuda {

__host__ __device__ constexpr int CeilDiv(int a, int b) { return (a + b - 1) / b; }

struct LinearProduct {
  LinearShape shape;
  const void* w = nullptr;               // of the only matrix, or
  const void* const* group_w = nullptr;  // of each group
  const int32_t* first_row = nullptr;    // [groups + 1], with group_w
  int groups = 1;
  const void* x = nullptr;
  size_t x_stride = 0;
  const float* bias = nullptr;
  float* y = nullptr;  // null: what blocks of one part each leave in scratch is not added up
  size_t y_stride = 0;
  bool add = false;
  int rows = 0;  // of all groups together, at most
  float* scratch = nullptr;

  // So many groups have rows, at most.
  int ActiveGroups() const { return rows < groups ? rows : groups; }
};

// How K is divided: parts of so many depths, the last one shorter. It depends on the matrix alone.
struct DepthParts {
  int count = 1;
  int depth = 0;
};
DepthParts DepthPartsOf(const LinearShape& shape);

// Of both types f32 or bf16, at any place: f32 fused multiply-adds.
cudaError_t LinearOnCores(const LinearProduct& product, DeviceFloat w_type, DeviceFloat x_type,
                          cudaStream_t stream);
// bf16 by bf16, in rows of whole pieces at 16-byte boundaries.
cudaError_t LinearOnTensorCores(const LinearProduct& product, cudaStream_t stream);
// What it leaves in scratch; none if every block has the whole depth.
RowParts PartsOnTensorCores(const LinearProduct& product);

// A matrix and its rows.
struct RowsOfMatrix {
  const void* w = nullptr;
  int first = 0;
  int end = 0;
};

// The `nth` of the groups that have rows, so that groups without rows cost no blocks; no rows when
// there are not as many. The same for every thread.
__device__ __forceinline__ RowsOfMatrix NthActiveGroup(const LinearProduct& product, int nth) {
  if (product.group_w == nullptr) return {product.w, 0, product.rows};
  const int lane = threadIdx.x % 32;
  for (int start = 0; start < product.groups; start += 32) {
    const int group = start + lane;
    const bool exists = group < product.groups;
    const int first = exists ? product.first_row[group] : 0;
    const int end = exists ? product.first_row[group + 1] : 0;
    const uint32_t active = __ballot_sync(kWarp, first < end);
    const bool wanted = first < end && __popc(active & ((1u << lane) - 1)) == nth;
    const uint32_t owner = __ballot_sync(kWarp, wanted);
    if (owner != 0) {
      const int at = 31 - __clz(owner);
      return {product.group_w[start + at], __shfl_sync(kWarp, first, at),
              __shfl_sync(kWarp, end, at)};
    }
    nth -= __popc(active);
  }
  return {};
}

// The last step of an output, whichever kernel has added it up.
__device__ __forceinline__ void StoreOutput(const LinearProduct& product, int row, int output,
                                            float sum) {
  float* y = product.y + row * product.y_stride + output;
  if (product.bias != nullptr) sum += product.bias[output];
  *y = product.add ? *y + sum : sum;
}

}  // namespace peerage::kernels::cuda
