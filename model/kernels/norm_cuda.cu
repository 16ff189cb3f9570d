#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/norm_cuda.h"

namespace peerage::kernels::cuda {
namespace {

// Narrow rows are a warp's, whose other seven would have nothing to do.
constexpr int kNarrow = 32 * kPiece;
constexpr int ThreadsFor(int width) { return width <= kNarrow ? 32 : 256; }

// Of (x[i] - mean)^kPower over a row; the same in every thread of the block.
template <int kPower, int kThreads, bool kWhole, typename X>
__device__ __forceinline__ float SumOfPowers(const X* x, int width, float mean, float* scratch) {
  float sum = 0;
  for (int i = threadIdx.x * kPiece; i < width; i += kThreads * kPiece) {
    const Eight e = LoadPieceOf<kWhole>(x, i, width);
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      const float distance = kWhole || i + j < width ? e.v[j] - mean : 0;
      sum = kPower == 2 ? fmaf(distance, distance, sum) : sum + distance;
    }
  }
  return BlockSum<kThreads>(sum, scratch);
}

// A block has a row. In place every thread reads its elements of x for the last time before it
// writes the same elements of y.
template <typename X, typename Y, int kThreads, bool kWhole>
__global__ void __launch_bounds__(kThreads) NormKernel(NormArgs args) {
  __shared__ float scratch[kThreads / 32];
  const int width = args.width;
  const int row = args.rows == nullptr ? blockIdx.x : args.rows[blockIdx.x];
  const X* x = static_cast<const X*>(args.x) + max(row, 0) * args.x_stride;
  Y* y = static_cast<Y*>(args.y) + blockIdx.x * args.y_stride;
  float mean = 0, scale = 0;
  if (row >= 0) {  // all threads or none
    if (args.layer_norm) mean = SumOfPowers<1, kThreads, kWhole>(x, width, 0, scratch) / width;
    const float variance = SumOfPowers<2, kThreads, kWhole>(x, width, mean, scratch) / width;
    scale = 1 / sqrtf(variance + args.epsilon);
  }
  for (int i = threadIdx.x * kPiece; i < width; i += kThreads * kPiece) {
    Eight e{};
    if (row >= 0) {
      e = LoadPieceOf<kWhole>(x, i, width);
      const Eight weight = LoadPieceOf<kWhole>(args.weight, i, width);
      Eight bias{};
      if (args.bias != nullptr) bias = LoadPieceOf<kWhole>(args.bias, i, width);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        e.v[j] = fmaf((e.v[j] - mean) * scale, weight.v[j], bias.v[j]);
      }
    }
    StorePieceOf<kWhole>(y, i, width, e);
  }
}

template <typename X, typename Y, int kThreads>
auto Choose(const NormArgs& args) {
  const bool whole = HasWholePieces(args.x, args.x_type, args.x_stride, args.width) &&
                     HasWholePieces(args.y, args.y_type, args.y_stride, args.width) &&
                     IsAligned(args.weight) && IsAligned(args.bias);
  return whole ? NormKernel<X, Y, kThreads, true> : NormKernel<X, Y, kThreads, false>;
}

template <typename X, typename Y>
auto Choose(const NormArgs& args) {
  return args.width <= kNarrow ? Choose<X, Y, ThreadsFor(kNarrow)>(args)
                               : Choose<X, Y, ThreadsFor(kNarrow + 1)>(args);
}

template <typename X>
auto Choose(const NormArgs& args) {
  return args.y_type == DeviceFloat::kF32 ? Choose<X, float>(args) : Choose<X, uint16_t>(args);
}

}  // namespace

cudaError_t Norm(const NormArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const auto kernel =
      args.x_type == DeviceFloat::kF32 ? Choose<float>(args) : Choose<uint16_t>(args);
  return LaunchKernel(kernel, args.count, ThreadsFor(args.width), 0, stream, args);
}

}  // namespace peerage::kernels::cuda
