// How kernels add up RowParts: in pieces, every element by itself.
#pragma once

#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::kernels::cuda {

__device__ __forceinline__ void AddPiece(Eight& sum, const Eight& piece) {
#pragma unroll
  for (int j = 0; j < kPiece; ++j) sum.v[j] += piece.v[j];
}

// The piece at `at` of a row, with all its parts added.
template <bool kWhole>
__device__ __forceinline__ Eight SumOfParts(const RowParts& rows, size_t row, int at, int width) {
  Eight sum{};
  const float* part = rows.parts + row * rows.row_stride;
#pragma unroll 4
  for (int p = 0; p < rows.count; ++p, part += rows.part_stride) {
    AddPiece(sum, LoadPieceOf<kWhole>(part, at, width));
  }
  if (rows.bias != nullptr) AddPiece(sum, LoadPieceOf<kWhole>(rows.bias, at, width));
  return sum;
}

// On the host: whether all parts can be read in whole pieces.
inline bool HasWholePieces(const RowParts& rows, int width) {
  return HasWholePieces(rows.parts, DeviceFloat::kF32, rows.row_stride, width) &&
         rows.part_stride * sizeof(float) % 16 == 0 && IsAligned(rows.bias);
}

}  // namespace peerage::kernels::cuda
