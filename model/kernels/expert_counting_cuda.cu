#include <algorithm>

#include "model/kernels/expert_counting_cuda.h"
#include "model/kernels/usage_counts_cuda.cuh"

namespace peerage::kernels::cuda {
namespace {

constexpr int kThreads = 256;

struct Uint128 {
  Count low = 0;
  Count high = 0;

  __device__ void Add(Uint128 other) {
    low += other.low;
    high += other.high + (low < other.low ? 1 : 0);
  }
};

__device__ __forceinline__ Uint128 Square(Count x) { return {x * x, __umul64hi(x, x)}; }

__device__ __forceinline__ Uint128 WarpSum(Uint128 x) {
#pragma unroll
  for (int m = 16; m > 0; m >>= 1) {
    x.Add({__shfl_xor_sync(kWarp, x.low, m), __shfl_xor_sync(kWarp, x.high, m)});
  }
  return x;
}

// Every carry is seen by the addition that makes it, whatever their order.
__device__ void AtomicAdd(Count (&sum)[2], Uint128 x) {
  const Count before = atomicAdd(&sum[0], x.low);
  const Count high = x.high + (before + x.low < before ? 1 : 0);
  if (high != 0) atomicAdd(&sum[1], high);
}

__device__ void CountSubKeys(const CountExpertsArgs& args, int64_t pick, uint32_t id) {
  const int head = static_cast<int>(pick / args.top_k % args.heads);
  const uint32_t expert = id % args.experts_of_set, n = args.num_sub_keys;
  auto* rows = reinterpret_cast<Count*>(args.sub_keys) + size_t{2} * head * n;
  atomicAdd(&rows[expert / n], Count{1});
  atomicAdd(&rows[n + expert % n], Count{1});
}

// One thread a pick. The token's number in the totals, and that of the step, are those before it.
__global__ void __launch_bounds__(kThreads) CountKernel(CountExpertsArgs args, int64_t picks) {
  const int64_t pick = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const auto step = static_cast<uint32_t>(args.totals->steps + 1);
  const int token = static_cast<int>(pick / (args.heads * args.top_k));
  const uint32_t id = pick < picks ? args.ids[pick] : kNoExpert;
  const bool counts = id != kNoExpert && args.positions[token] >= 0;
  Count score = 0;
  bool first = false;
  if (counts) {
    score = Score(args.weights[pick]);
    auto* count = reinterpret_cast<Count*>(&args.counts[id]);  // selections, score
    atomicAdd(&count[0], Count{1});
    atomicAdd(&count[1], score);
    first = atomicExch(&args.last_step[id], step) != step;
    if (args.sub_keys != nullptr && IsSample(*args.totals, token)) CountSubKeys(args, pick, id);
  }
  const uint32_t distinct = __ballot_sync(kWarp, first);
  const Uint128 squares = WarpSum(Square(score));
  if (threadIdx.x % 32 != 0) return;
  if (distinct != 0) atomicAdd(&args.totals->step_distinct, Count(__popc(distinct)));
  if ((squares.low | squares.high) != 0) AtomicAdd(args.totals->squared_scores, squares);
}

// Afterwards, since it changes what the other kernel reads. One warp.
__global__ void __launch_bounds__(32) CountTokensKernel(CountExpertsArgs args) {
  int tokens = 0;
  for (int t = threadIdx.x; t < args.count; t += 32) tokens += args.positions[t] >= 0;
  tokens = __reduce_add_sync(kWarp, tokens);
  if (threadIdx.x != 0 || tokens == 0) return;
  args.totals->tokens += tokens;
  args.totals->steps += 1;
}

static_assert(sizeof(ExpertCount) == 2 * sizeof(Count) &&
              offsetof(ExpertCount, score) == sizeof(Count));

}  // namespace

cudaError_t CountExperts(const CountExpertsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const int64_t picks = int64_t{args.count} * args.heads * args.top_k;
  const auto blocks = static_cast<unsigned>((picks + kThreads - 1) / kThreads);
  const cudaError_t error = LaunchKernel(CountKernel, blocks, kThreads, 0, stream, args, picks);
  if (error != cudaSuccess) return error;
  return LaunchKernel(CountTokensKernel, 1, 32, 0, stream, args);
}

}  // namespace peerage::kernels::cuda
