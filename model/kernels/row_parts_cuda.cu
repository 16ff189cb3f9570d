#include "model/kernels/row_parts_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 64;  // few: one row's blocks are spread over several processors
constexpr int kColumns = kThreads * kPiece;

// Grid: rows, columns.
template <bool kWhole>
__global__ void __launch_bounds__(kThreads) AddRowsKernel(AddRowsArgs args) {
  const int at = blockIdx.y * kColumns + threadIdx.x * kPiece;
  if (at >= args.width) return;
  float* row = args.x + size_t{blockIdx.x} * args.width;
  Eight x = LoadPieceOf<kWhole>(row, at, args.width);
  AddPiece(x, SumOfParts<kWhole>(args.added, blockIdx.x, at, args.width));
  StorePieceOf<kWhole>(row, at, args.width, x);
}

}  // namespace

cudaError_t AddRows(const AddRowsArgs& args, cudaStream_t stream) {
  if (args.rows == 0 || args.added.count == 0) return cudaSuccess;
  const bool whole = HasWholePieces(args.added, args.width) &&
                     HasWholePieces(args.x, DeviceFloat::kF32, args.width, args.width);
  const auto kernel = whole ? AddRowsKernel<true> : AddRowsKernel<false>;
  const dim3 grid(args.rows, (args.width + kColumns - 1) / kColumns);
  return LaunchKernel(kernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
