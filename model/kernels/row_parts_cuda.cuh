// How kernels add up RowParts, in pieces, every element by itself; and the kernel that adds
// whatever norm_cuda.cuh takes to rows.
#pragma once

#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/row_parts_cuda.h"

namespace peerage::kernels::cuda {

__device__ __forceinline__ void AddPiece(Eight& sum, const Eight& piece) {
#pragma unroll
  for (int j = 0; j < kPiece; ++j) sum.v[j] += piece.v[j];
}

__host__ __device__ inline bool IsEmpty(const RowParts& rows) { return rows.count == 0; }

// The piece at `at` of a row, with all its parts added.
template <bool kWhole>
__device__ __forceinline__ Eight SumOf(const RowParts& rows, size_t row, int at, int width) {
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

// Adds to rows, piece by piece. Grid: rows, columns.
inline constexpr int kAddThreads = 64;  // few: one row's blocks are spread over several processors
inline constexpr int kAddColumns = kAddThreads * kPiece;
template <typename Added, bool kWhole>
__global__ void __launch_bounds__(kAddThreads) AddRowsKernel(SumRows rows, Added added) {
  const int at = blockIdx.y * kAddColumns + threadIdx.x * kPiece;
  if (at >= rows.width) return;
  float* row = rows.x + size_t{blockIdx.x} * rows.width;
  Eight x = LoadPieceOf<kWhole>(row, at, rows.width);
  AddPiece(x, SumOf<kWhole>(added, blockIdx.x, at, rows.width));
  StorePieceOf<kWhole>(row, at, rows.width, x);
}

template <typename Added>
cudaError_t LaunchAddRows(const SumRows& rows, const Added& added, cudaStream_t stream) {
  if (rows.count == 0 || IsEmpty(added)) return cudaSuccess;
  const bool whole = HasWholePieces(added, rows.width) &&
                     HasWholePieces(rows.x, DeviceFloat::kF32, rows.width, rows.width);
  const auto kernel = whole ? AddRowsKernel<Added, true> : AddRowsKernel<Added, false>;
  const dim3 grid(rows.count, (rows.width + kAddColumns - 1) / kAddColumns);
  return LaunchKernel(kernel, grid, kAddThreads, 0, stream, rows, added);
}

}  // namespace peerage::kernels::cuda
