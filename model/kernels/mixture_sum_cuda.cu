#include "model/kernels/mixture_cuda.h"
#include "model/kernels/norm_cuda.cuh"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

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
__device__ __forceinline__ void AddPick(const MixtureParts& args, size_t pick, int i, int width,
                                        Eight& sum) {
  const uint32_t id = args.ids[pick];
  if (id == kNoExpert) return;
  const size_t token = pick / args.top_k;
  const int row = args.row_of_pick[pick];
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

// Of a mixture that reads u of this type.
template <typename U>
struct MixtureOf {
  MixtureParts parts;
};
template <typename U>
__host__ __device__ bool IsEmpty(const MixtureOf<U>& mixture) {
  return mixture.parts.top_k == 0;
}
template <typename U>
bool HasWholePieces(const MixtureOf<U>& mixture, int width) {
  const MixtureParts& parts = mixture.parts;
  return HasWholePieces(parts.u, parts.u_type, width, width) &&
         HasWholePieces(parts.outputs, DeviceFloat::kF32, width, width);
}
// The experts' sum first, then one rounding into x, as a dense layer has it.
template <bool kWhole, typename U>
__device__ __forceinline__ Eight SumOf(const MixtureOf<U>& mixture, size_t row, int at, int width) {
  const MixtureParts& parts = mixture.parts;
  Eight sum{};
#pragma unroll 1  // more would spill registers: a pick may be of any kind
  for (int k = 0; k < parts.top_k; ++k) {
    AddPick<U, kWhole>(parts, row * parts.top_k + k, at, width, sum);
  }
  return sum;
}

}  // namespace

cudaError_t AddRows(const SumRows& rows, const MixtureParts& added, cudaStream_t stream) {
  return added.u_type == DeviceFloat::kF32
             ? LaunchAddRows(rows, MixtureOf<float>{added}, stream)
             : LaunchAddRows(rows, MixtureOf<uint16_t>{added}, stream);
}

cudaError_t NormOfSum(const NormArgs& args, const MixtureParts& added, cudaStream_t stream) {
  if (args.x_type != DeviceFloat::kF32 || args.y_type != added.u_type) return cudaErrorInvalidValue;
  return added.u_type == DeviceFloat::kF32
             ? LaunchNorm<float, float>(args, MixtureOf<float>{added}, stream)
             : LaunchNorm<float, uint16_t>(args, MixtureOf<uint16_t>{added}, stream);
}

}  // namespace peerage::kernels::cuda
