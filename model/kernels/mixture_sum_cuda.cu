#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/mixture_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kColumns = kThreads * kPiece;  // of a block

__device__ __forceinline__ void AddScaled(float gate, const Eight& x, Eight& sum) {
#pragma unroll
  for (int j = 0; j < kPiece; ++j) sum.v[j] = fmaf(gate, x.v[j], sum.v[j]);
}

// a1 u + a2 v, (a1, a2) = softmax(scores)
__device__ __forceinline__ Eight ConstantExpert(const float* scores, const Eight& u,
                                                const Eight& v) {
  const float most = fmaxf(scores[0], scores[1]);
  const float first = expf(scores[0] - most), second = expf(scores[1] - most);
  const float total = first + second;
  const float a1 = first / total, a2 = second / total;
  Eight mixed;
#pragma unroll
  for (int j = 0; j < kPiece; ++j) mixed.v[j] = fmaf(a1, u.v[j], a2 * v.v[j]);
  return mixed;
}

// What a pick adds to the columns from i on.
template <typename U, bool kWhole>
__device__ __forceinline__ void AddPick(const AddMixtureArgs& args, size_t pick, int i,
                                        Eight& sum) {
  const uint32_t id = args.ids[pick];
  if (id == kNoExpert) return;
  const size_t token = pick / args.top_k;
  const int width = args.width, row = args.row_of_pick[pick];
  const float gate = args.weights[pick];
  const U* u = static_cast<const U*>(args.u) + token * width;
  if (row >= 0) {
    AddScaled(gate, LoadPieceOf<kWhole>(args.outputs + size_t(row) * width, i, width), sum);
  } else if (id >= args.first_constant) {
    const int constant = id - args.first_constant;
    const float* scores = args.scores + token * args.scores_stride + 2 * constant;
    // Where each of the vectors lies, only the device knows.
    const Eight v = LoadPieceOf<false>(args.vectors[constant], i, width);
    AddScaled(gate, ConstantExpert(scores, LoadPieceOf<kWhole>(u, i, width), v), sum);
  } else if (id >= args.first_copy) {
    AddScaled(gate, LoadPieceOf<kWhole>(u, i, width), sum);
  }
}

// The experts' sum first, then one rounding into the residual, as a dense layer has it.
template <typename U, bool kWhole>
__global__ void __launch_bounds__(kThreads) AddMixtureKernel(AddMixtureArgs args) {
  const int i = blockIdx.y * kColumns + threadIdx.x * kPiece;
  const size_t first = size_t{blockIdx.x} * args.top_k;
  if (i >= args.width || args.ids[first] == kNoExpert) return;  // padding stays as it is
  Eight sum{};
  for (int k = 0; k < args.top_k; ++k) AddPick<U, kWhole>(args, first + k, i, sum);
  float* residual = args.residual + size_t{blockIdx.x} * args.width;
  Eight y = LoadPieceOf<kWhole>(residual, i, args.width);
#pragma unroll
  for (int j = 0; j < kPiece; ++j) y.v[j] += sum.v[j];
  StorePieceOf<kWhole>(residual, i, args.width, y);
}

template <typename U>
auto Choose(const AddMixtureArgs& args) {
  const int width = args.width;
  const bool whole = HasWholePieces(args.u, args.u_type, width, width) &&
                     HasWholePieces(args.outputs, DeviceFloat::kF32, width, width) &&
                     HasWholePieces(args.residual, DeviceFloat::kF32, width, width);
  return whole ? AddMixtureKernel<U, true> : AddMixtureKernel<U, false>;
}

}  // namespace

cudaError_t AddMixture(const AddMixtureArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const auto kernel =
      args.u_type == DeviceFloat::kF32 ? Choose<float>(args) : Choose<uint16_t>(args);
  const dim3 grid(args.count, (args.width + kColumns - 1) / kColumns);
  return LaunchKernel(kernel, grid, kThreads, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
