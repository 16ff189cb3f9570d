#include <algorithm>

#include "model/kernels/linear_product_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocks = 4;  // a processor: with no number ptxas spills a register or two for more
constexpr int kMostRowBlocks = 64;  // further rows are further rounds of the same blocks

// A warp has kOutputs outputs of kRows rows at a time. Lane l adds up pieces l, l + 32 and so on of
// the depth in this order, then lanes are added as a tree: whatever the number of rows, and whether
// pieces are read whole.
template <int kRows, int kOutputs, bool kWhole, typename W, typename X>
struct WarpTile {
  const W* w;  // of the first output
  const X* x;  // of the first row
  size_t x_stride;
  int depth, outputs, rows;  // those that exist, from here on
  float sums[kRows][kOutputs];

  __device__ __forceinline__ void AddUp() {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) sums[r][o] = 0;
    }
    for (int k = threadIdx.x % 32 * kPiece; k < depth; k += 32 * kPiece) AddPiece(k);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) sums[r][o] = WarpSum(sums[r][o]);
    }
  }

  __device__ __forceinline__ void AddPiece(int k) {
    Eight weights[kOutputs];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      weights[o] = Eight{};
      if (o < outputs) weights[o] = LoadPieceOf<kWhole>(w + size_t(o) * depth, k, depth);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows) continue;
      const Eight values = LoadPieceOf<kWhole>(x + r * x_stride, k, depth);
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
        for (int j = 0; j < kPiece; ++j) {
          sums[r][o] = fmaf(values.v[j], weights[o].v[j], sums[r][o]);
        }
      }
    }
  }
};

// Grid: outputs, rows, groups.
template <int kRows, int kOutputs, bool kWhole, typename W, typename X>
__global__ void __launch_bounds__(kThreads, kBlocks) LinearOnCoresKernel(LinearProduct product) {
  const RowsOfMatrix own = NthActiveGroup(product, blockIdx.z);
  const int warp = threadIdx.x / 32, output = (blockIdx.x * (kThreads / 32) + warp) * kOutputs;
  if (output >= product.shape.outputs) return;
  WarpTile<kRows, kOutputs, kWhole, W, X> tile;
  tile.depth = product.shape.depth;
  tile.w = static_cast<const W*>(own.w) + size_t(output) * tile.depth;
  tile.x_stride = product.x_stride;
  tile.outputs = product.shape.outputs - output;
  for (int row = own.first + blockIdx.y * kRows; row < own.end; row += gridDim.y * kRows) {
    tile.x = static_cast<const X*>(product.x) + row * product.x_stride;
    tile.rows = own.end - row;
    tile.AddUp();
    if (threadIdx.x % 32 != 0) continue;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        if (r < tile.rows && o < tile.outputs) {
          StoreOutput(product, row + r, output + o, tile.sums[r][o]);
        }
      }
    }
  }
}

template <int kRows, int kOutputs, typename W, typename X>
cudaError_t LaunchTile(const LinearProduct& product, bool whole, cudaStream_t stream) {
  const auto kernel = whole ? LinearOnCoresKernel<kRows, kOutputs, true, W, X>
                            : LinearOnCoresKernel<kRows, kOutputs, false, W, X>;
  const dim3 grid(CeilDiv(product.shape.outputs, kOutputs * kThreads / 32),
                  std::min(CeilDiv(product.rows, kRows), kMostRowBlocks), product.ActiveGroups());
  return LaunchKernel(kernel, grid, kThreads, 0, stream, product);
}

template <typename W, typename X>
cudaError_t LaunchFor(const LinearProduct& product, bool whole, cudaStream_t stream) {
  return product.rows == 1 ? LaunchTile<1, 1, W, X>(product, whole, stream)
                           : LaunchTile<8, 2, W, X>(product, whole, stream);
}

}  // namespace

cudaError_t LinearOnCores(const LinearProduct& product, DeviceFloat w_type, DeviceFloat x_type,
                          cudaStream_t stream) {
  const int depth = product.shape.depth;
  const bool whole = HasWholePieces(product.x, x_type, product.x_stride, depth) &&
                     HasWholePieces(product.w, w_type, depth, depth);
  if (w_type == DeviceFloat::kF32) {
    return x_type == DeviceFloat::kF32 ? LaunchFor<float, float>(product, whole, stream)
                                       : LaunchFor<float, uint16_t>(product, whole, stream);
  }
  return x_type == DeviceFloat::kF32 ? LaunchFor<uint16_t, float>(product, whole, stream)
                                     : LaunchFor<uint16_t, uint16_t>(product, whole, stream);
}

}  // namespace peerage::kernels::cuda
