#include <algorithm>

#include "model/kernels/linear_product_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kBlocks = 4;  // a processor: with no number ptxas spills a register or two for more
constexpr int kMostRowBlocks = 64;  // further rows are further rounds of the same blocks

// Four elements at `at` of a row, zeros behind its end; one by one where they may lie anywhere.
constexpr int kQuad = 4;
struct Quad {
  float v[kQuad];
};
__device__ __forceinline__ Quad LoadQuad(const float* p) {
  const float4 q = *reinterpret_cast<const float4*>(p);
  return {{q.x, q.y, q.z, q.w}};
}
__device__ __forceinline__ Quad LoadQuad(const uint16_t* p) {
  const uint2 q = *reinterpret_cast<const uint2*>(p);
  return {{LowFloat(q.x), HighFloat(q.x), LowFloat(q.y), HighFloat(q.y)}};
}
template <bool kWhole, typename Element>
__device__ __forceinline__ Quad LoadQuadOf(const Element* row, int at, int width) {
  if constexpr (kWhole) {
    return LoadQuad(row + at);
  } else {
    Quad q{};
#pragma unroll
    for (int j = 0; j < kQuad; ++j) {
      if (at + j < width) q.v[j] = ToFloat(row[at + j]);
    }
    return q;
  }
}

// Adds each of kValues over the warp, in the order of WarpSum: lane l gets the sum of value
// l / (32 / kValues). Half of the values go to the other half of the lanes at every step, which
// takes a fifth of the shuffles of one sum after the other.
template <int kValues, int kMask = 16>
__device__ __forceinline__ float WarpSumOfEach(float* values) {
  if constexpr (kMask == 0) {
    return values[0];
  } else if constexpr (kValues == 1) {
    values[0] += __shfl_xor_sync(kWarp, values[0], kMask);
    return WarpSumOfEach<1, kMask / 2>(values);
  } else {
    const bool upper = (threadIdx.x & kMask) != 0;
#pragma unroll
    for (int i = 0; i < kValues / 2; ++i) {
      const float low = values[i], high = values[i + kValues / 2];
      values[i] = (upper ? high : low) + __shfl_xor_sync(kWarp, upper ? low : high, kMask);
    }
    return WarpSumOfEach<kValues / 2, kMask / 2>(values);
  }
}

// A warp has kOutputs outputs of kRows rows at a time. Lane l adds up quads l, l + 32 and so on of
// the depth in this order, then lanes are added as a tree: whatever the number of rows, and whether
// quads are read whole. Rows and outputs that do not exist are read as the last that do.
template <int kRows, int kOutputs, bool kWhole, typename W, typename X>
struct WarpTile {
  const W* w[kOutputs];
  const X* x[kRows];

  // The sum of output `lane / (32 / (kRows * kOutputs))` of the tile.
  __device__ __forceinline__ float AddUp(int depth) const {
    float sums[kRows * kOutputs] = {};
    for (int k = threadIdx.x % 32 * kQuad; k < depth; k += 32 * kQuad) {
      Quad weights[kOutputs];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) weights[o] = LoadQuadOf<kWhole>(w[o], k, depth);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const Quad values = LoadQuadOf<kWhole>(x[r], k, depth);
#pragma unroll
        for (int i = 0; i < kOutputs * kQuad; ++i) {
          float& sum = sums[r * kOutputs + i / kQuad];
          sum = fmaf(values.v[i % kQuad], weights[i / kQuad].v[i % kQuad], sum);
        }
      }
    }
    return WarpSumOfEach<kRows * kOutputs>(sums);
  }
};

// Grid: outputs, rows, groups.
template <int kRows, int kOutputs, bool kWhole, typename W, typename X>
__global__ void __launch_bounds__(kThreads, kBlocks) LinearOnCoresKernel(LinearProduct product) {
  const auto [outputs, depth] = product.shape;
  const RowsOfMatrix own = NthActiveGroup(product, blockIdx.z);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int output = (blockIdx.x * (kThreads / 32) + warp) * kOutputs;
  if (output >= outputs) return;
  WarpTile<kRows, kOutputs, kWhole, W, X> tile;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    tile.w[o] = static_cast<const W*>(own.w) + size_t(min(output + o, outputs - 1)) * depth;
  }
  constexpr int kLanes = 32 / (kRows * kOutputs);  // that get the same sum
  const int own_row = lane / kLanes / kOutputs, own_output = output + lane / kLanes % kOutputs;
  for (int row = own.first + blockIdx.y * kRows; row < own.end; row += gridDim.y * kRows) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      tile.x[r] = static_cast<const X*>(product.x) + min(row + r, own.end - 1) * product.x_stride;
    }
    const float sum = tile.AddUp(depth);
    if (lane % kLanes == 0 && row + own_row < own.end && own_output < outputs) {
      StoreOutput(product, row + own_row, own_output, sum);
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
  if (product.rows == 1) return LaunchTile<1, 4, W, X>(product, whole, stream);
  if (product.rows <= 4) return LaunchTile<4, 4, W, X>(product, whole, stream);
  return LaunchTile<8, 4, W, X>(product, whole, stream);
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
