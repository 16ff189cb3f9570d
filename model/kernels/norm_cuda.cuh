// The kernel of norms, for whatever is to be added to x: a type with
//
//   IsEmpty(added): whether there is nothing
//   SumOf<kWhole>(added, row, at, width): the piece at `at` of what is added to a row
//   HasWholePieces(added, width), on the host
#pragma once

#include "model/kernels/norm_cuda.h"
#include "model/kernels/row_parts_cuda.cuh"

namespace peerage::kernels::cuda {

// Narrow rows are a warp's, whose other seven would have nothing to do.
inline constexpr int kNarrow = 32 * kPiece;
constexpr int ThreadsFor(int width) { return width <= kNarrow ? 32 : 256; }

// Of a processor, at least: with no number ptxas spills a register or two for more.
inline constexpr int kNormBlocks = 2;

// A row as its block sees it: every thread has the pieces at its own places. It keeps the first,
// which is the only one of most rows, and loads others as often as they are wanted.
template <typename X, typename Added, int kThreads, bool kWhole>
struct RowOfBlock {
  const X* x;
  Added added;
  size_t row;
  int width;
  bool adds;  // what is added is not yet in x
  Eight first;

  __device__ __forceinline__ static int FirstPlace() { return threadIdx.x * kPiece; }

  // Adds what is to be added, and stores the sums if somebody wants them.
  __device__ __forceinline__ void Begin(float* sums) {
    adds = sizeof(X) == sizeof(float) && !IsEmpty(added);
    first = Load(FirstPlace());
    if (!adds || sums == nullptr) return;
    if constexpr (sizeof(X) == sizeof(float)) {
      ForEach([&](int at, const Eight& e) { StorePieceOf<kWhole>(sums, at, width, e); });
      x = sums;
      adds = false;
    }
  }

  // visit(place, piece)
  template <typename Visit>
  __device__ __forceinline__ void ForEach(const Visit& visit) const {
    if (FirstPlace() < width) visit(FirstPlace(), first);
    for (int at = FirstPlace() + kThreads * kPiece; at < width; at += kThreads * kPiece) {
      visit(at, Load(at));
    }
  }

  // Of (x[i] - mean)^kPower; the same in every thread of the block.
  template <int kPower>
  __device__ __forceinline__ float SumOfPowers(float mean, float* scratch) const {
    float sum = 0;
    ForEach([&](int at, const Eight& e) {
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        const float distance = kWhole || at + j < width ? e.v[j] - mean : 0;
        sum = kPower == 2 ? fmaf(distance, distance, sum) : sum + distance;
      }
    });
    return BlockSum<kThreads>(sum, scratch);
  }

 private:
  __device__ __forceinline__ Eight Load(int at) const {
    if (at >= width) return {};
    Eight e = LoadPieceOf<kWhole>(x, at, width);
    if constexpr (sizeof(X) == sizeof(float)) {
      if (adds) AddPiece(e, SumOf<kWhole>(added, row, at, width));
    }
    return e;
  }
};

// A block has a row. In place every thread reads its elements of x for the last time before it
// writes the same elements of y.
template <typename X, typename Y, typename Added, int kThreads, bool kWhole>
__global__ void __launch_bounds__(kThreads, kNormBlocks) NormKernel(NormArgs args, Added added) {
  __shared__ float scratch[kThreads / 32];
  const int width = args.width;
  const int picked = args.rows == nullptr ? blockIdx.x : args.rows[blockIdx.x];
  Y* y = static_cast<Y*>(args.y) + blockIdx.x * args.y_stride;
  if (picked < 0) {
    for (int at = threadIdx.x * kPiece; at < width; at += kThreads * kPiece) {
      StorePieceOf<kWhole>(y, at, width, {});
    }
    return;
  }
  const size_t begin = picked * args.x_stride;
  RowOfBlock<X, Added, kThreads, kWhole> row{static_cast<const X*>(args.x) + begin, added,
                                             size_t(picked), width};
  row.Begin(args.sums == nullptr ? nullptr : args.sums + begin);
  float mean = 0;
  if (args.layer_norm) mean = row.template SumOfPowers<1>(0, scratch) / width;
  const float variance = row.template SumOfPowers<2>(mean, scratch) / width;
  const float scale = 1 / sqrtf(variance + args.epsilon);
  row.ForEach([&](int at, const Eight& e) {
    const Eight weight = LoadPieceOf<kWhole>(args.weight, at, width);
    Eight normed{};
    if (args.bias != nullptr) normed = LoadPieceOf<kWhole>(args.bias, at, width);
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      normed.v[j] = fmaf((e.v[j] - mean) * scale, weight.v[j], normed.v[j]);
    }
    StorePieceOf<kWhole>(y, at, width, normed);
  });
}

template <int kThreads, typename X, typename Y, typename Added>
cudaError_t LaunchNormOf(const NormArgs& args, const Added& added, cudaStream_t stream) {
  const bool whole = HasWholePieces(args.x, args.x_type, args.x_stride, args.width) &&
                     HasWholePieces(args.y, args.y_type, args.y_stride, args.width) &&
                     HasWholePieces(added, args.width) && IsAligned(args.sums) &&
                     IsAligned(args.weight) && IsAligned(args.bias);
  const auto kernel =
      whole ? NormKernel<X, Y, Added, kThreads, true> : NormKernel<X, Y, Added, kThreads, false>;
  return LaunchKernel(kernel, args.count, kThreads, 0, stream, args, added);
}

template <typename X, typename Y, typename Added>
cudaError_t LaunchNorm(const NormArgs& args, const Added& added, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const auto launch = args.width <= kNarrow ? LaunchNormOf<ThreadsFor(kNarrow), X, Y, Added>
                                            : LaunchNormOf<ThreadsFor(kNarrow + 1), X, Y, Added>;
  return launch(args, added, stream);
}

}  // namespace peerage::kernels::cuda
