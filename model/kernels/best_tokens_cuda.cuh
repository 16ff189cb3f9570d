// The few best of many distinct ranks (TokenRank), best first.
#pragma once

#include "model/kernels/block_sum_cuda.cuh"

namespace peerage::kernels::cuda {

// The n best of a warp's, by as many rounds. next() gives a lane's ranks, best first, then 0.
// `best` is shared or global memory.
template <class Next>
__device__ __forceinline__ void WarpBest(int n, uint64_t* best, Next next) {
  uint64_t mine = next();
  for (int round = 0; round < n; ++round) {
    const uint64_t most = WarpMax(mine);
    if (threadIdx.x % 32 == 0) best[round] = most;
    if (mine == most) mine = next();
  }
}

// The n best of `count` <= 32 * kPerLane ranks, rank_at(i). By one warp.
template <int kPerLane, class RankAt>
__device__ __forceinline__ void MergeBest(int count, int n, uint64_t* best, RankAt rank_at) {
  uint64_t ranks[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int at = i * 32 + static_cast<int>(threadIdx.x % 32);
    ranks[i] = at < count ? rank_at(at) : 0;
  }
  WarpBest(n, best, [&] {
    uint64_t most = 0;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) most = max(most, ranks[i]);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) ranks[i] = ranks[i] == most ? 0 : ranks[i];
    return most;
  });
}

}  // namespace peerage::kernels::cuda
