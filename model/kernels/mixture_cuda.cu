#include "model/kernels/elements_cuda.cuh"
#include "model/kernels/mixture_cuda.h"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 128;

constexpr int BlocksFor(int64_t threads) {
  return static_cast<int>((threads + kThreads - 1) / kThreads);
}

// ---- ChooseExperts: a warp has a token; lane l has experts l, l + 32 and so on

__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) x = fmaxf(x, __shfl_xor_sync(kWarp, x, m));
  return x;
}

__device__ __forceinline__ uint64_t WarpMax(uint64_t x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) {
    const uint64_t other = __shfl_xor_sync(kWarp, x, m);
    x = max(x, other);
  }
  return x;
}

// In place. fmaxf passes over NaN, which the sum then spreads to every gate.
__device__ __forceinline__ void SoftmaxOfWarp(float* logits, int count, int lane) {
  float most = -INFINITY;
  for (int i = lane; i < count; i += 32) most = fmaxf(most, logits[i]);
  most = WarpMax(most);
  float sum = 0;
  for (int i = lane; i < count; i += 32) sum += logits[i] = expf(logits[i] - most);
  sum = WarpSum(sum);
  for (int i = lane; i < count; i += 32) logits[i] /= sum;
}

// The best expert that ranks behind `previous`, the same in every lane.
__device__ __forceinline__ uint64_t NextBest(const float* gates, int count, int lane,
                                             uint64_t previous) {
  uint64_t best = 0;
  for (int i = lane; i < count; i += 32) {
    const uint64_t ranked = RankedKey(OrderedKey(gates[i]), i);
    if (ranked < previous) best = max(best, ranked);
  }
  return WarpMax(best);
}

__global__ void __launch_bounds__(kThreads) ChooseExpertsKernel(ChooseExpertsArgs args) {
  const int lane = threadIdx.x % 32, token = blockIdx.x * (kThreads / 32) + threadIdx.x / 32;
  if (token >= args.count) return;
  uint32_t* ids = args.ids + size_t(token) * args.top_k;
  float* weights = args.weights + size_t(token) * args.top_k;
  if (args.positions[token] < 0) {
    for (int k = lane; k < args.top_k; k += 32) ids[k] = kNoExpert, weights[k] = 0;
    return;
  }
  float* gates = args.logits + token * args.stride;
  SoftmaxOfWarp(gates, args.experts, lane);
  __syncwarp();
  uint64_t ranked = ~uint64_t{0};
  float sum = 0;
  for (int k = 0; k < args.top_k; ++k) {
    ranked = NextBest(gates, args.experts, lane, ranked);
    const float gate = FromOrderedKey(KeyOf(ranked));  // NaN where the gate is NaN
    sum += gate;
    if (lane == k % 32) ids[k] = IdOf(ranked), weights[k] = gate;
  }
  if (!args.normalize) return;
  for (int k = lane; k < args.top_k; k += 32) weights[k] /= sum;
}

// ---- rows and gates that only move

__global__ void __launch_bounds__(kThreads) SpreadGatesKernel(SpreadGatesArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= int64_t{args.count} * args.heads) return;
  const int64_t token = i / args.heads;
  const uint32_t expert = args.expert_of_head[i % args.heads];
  float gate = 0;
  for (int64_t pick = token * args.top_k; pick < (token + 1) * args.top_k; ++pick) {
    if (args.ids[pick] == expert) gate = args.weights[pick];
  }
  args.head_gates[i] = gate;
}

__global__ void __launch_bounds__(kThreads) KeepRowsKernel(KeepRowsArgs args) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= int64_t{args.count} * args.width) return;
  const int64_t row = i / args.width, column = i % args.width;
  args.to[row * args.to_stride + column] = args.from[row * args.from_stride + column];
}

// A block copies a pick's row, in units that divide it.
template <typename Unit>
__global__ void __launch_bounds__(kThreads) GatherRowsKernel(GatherRowsArgs args, int units) {
  const int pick = blockIdx.x, row = args.row_of_pick[pick];
  if (row < 0) return;
  const Unit* from = static_cast<const Unit*>(args.u) + size_t(pick / args.top_k) * units;
  Unit* to = static_cast<Unit*>(args.gathered) + size_t(row) * units;
  for (int i = threadIdx.x; i < units; i += kThreads) to[i] = from[i];
}

template <typename Unit>
cudaError_t Gather(const GatherRowsArgs& args, size_t row_bytes, cudaStream_t stream) {
  return LaunchKernel(GatherRowsKernel<Unit>, args.count * args.top_k, kThreads, 0, stream, args,
                      row_bytes / sizeof(Unit));
}

}  // namespace

cudaError_t ChooseExperts(const ChooseExpertsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  return LaunchKernel(ChooseExpertsKernel, BlocksFor(int64_t{args.count} * 32), kThreads, 0, stream,
                      args);
}

cudaError_t SpreadGates(const SpreadGatesArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(int64_t{args.count} * args.heads);
  if (blocks == 0) return cudaSuccess;
  return LaunchKernel(SpreadGatesKernel, blocks, kThreads, 0, stream, args);
}

cudaError_t KeepRows(const KeepRowsArgs& args, cudaStream_t stream) {
  const int blocks = BlocksFor(int64_t{args.count} * args.width);
  if (blocks == 0) return cudaSuccess;
  return LaunchKernel(KeepRowsKernel, blocks, kThreads, 0, stream, args);
}

cudaError_t GatherRows(const GatherRowsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const size_t row_bytes = args.width * BytesOf(args.type);
  if (row_bytes % 16 == 0 && IsAligned(args.u) && IsAligned(args.gathered)) {
    return Gather<uint4>(args, row_bytes, stream);
  }
  return args.type == DeviceFloat::kF32 ? Gather<uint32_t>(args, row_bytes, stream)
                                        : Gather<uint16_t>(args, row_bytes, stream);
}

}  // namespace peerage::kernels::cuda
