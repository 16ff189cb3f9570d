#include "model/kernels/norm_cuda.h"
#include "model/kernels/row_parts_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

// Narrow rows are a warp's, whose other seven would have nothing to do.
constexpr int kNarrow = 32 * kPiece;
constexpr int ThreadsFor(int width) { return width <= kNarrow ? 32 : 256; }

// A row as its block sees it: every thread has the pieces at its own places. It keeps the first,
// which is the only one of most rows, and loads others as often as they are wanted.
template <typename X, int kThreads, bool kWhole>
struct RowOfBlock {
  const X* x;
  RowParts added;
  size_t row;
  int width;
  Eight first;

  __device__ __forceinline__ static int FirstPlace() { return threadIdx.x * kPiece; }

  // Adds what is to be added, and stores the sums if somebody wants them.
  __device__ __forceinline__ void Begin(float* sums) {
    first = Load(FirstPlace());
    if (added.count == 0 || sums == nullptr) return;
    if constexpr (sizeof(X) == sizeof(float)) {
      ForEach([&](int at, const Eight& e) { StorePieceOf<kWhole>(sums, at, width, e); });
      x = sums;
      added.count = 0;
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
    if (sizeof(X) == sizeof(float) && added.count > 0) {
      AddPiece(e, SumOfParts<kWhole>(added, row, at, width));
    }
    return e;
  }
};

// A block has a row. In place every thread reads its elements of x for the last time before it
// writes the same elements of y.
template <typename X, typename Y, int kThreads, bool kWhole>
__global__ void __launch_bounds__(kThreads) NormKernel(NormArgs args) {
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
  RowOfBlock<X, kThreads, kWhole> row{static_cast<const X*>(args.x) + begin, args.added,
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

template <typename X, typename Y, int kThreads>
auto Choose(const NormArgs& args) {
  const bool whole = HasWholePieces(args.x, args.x_type, args.x_stride, args.width) &&
                     HasWholePieces(args.y, args.y_type, args.y_stride, args.width) &&
                     HasWholePieces(args.added, args.width) && IsAligned(args.sums) &&
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
  if (args.added.count != 0 && args.x_type != DeviceFloat::kF32) return cudaErrorInvalidValue;
  const auto kernel =
      args.x_type == DeviceFloat::kF32 ? Choose<float>(args) : Choose<uint16_t>(args);
  return LaunchKernel(kernel, args.count, ThreadsFor(args.width), 0, stream, args);
}

}  // namespace peerage::kernels::cuda
