// Exact sums, maxima and running sums of a block's integers: the same in every order.
#pragma once

#include "model/kernels/device_cuda.cuh"

namespace peerage::kernels::cuda {

// A sum in shared memory that many threads add to: two atomics of 32 bits, which the hardware has
// there; those of 64 bits would be loops.
using SharedSum = uint2;
__device__ __forceinline__ uint64_t ValueOf(SharedSum sum) { return uint64_t{sum.y} << 32 | sum.x; }
__device__ __forceinline__ SharedSum AsSharedSum(uint64_t value) {
  return {static_cast<uint32_t>(value), static_cast<uint32_t>(value >> 32)};
}
__device__ __forceinline__ void AddShared(SharedSum& sum, uint64_t value) {
  const auto low = static_cast<uint32_t>(value);
  const uint32_t before = atomicAdd(&sum.x, low);
  const uint32_t high = static_cast<uint32_t>(value >> 32) + (before + low < low ? 1 : 0);
  if (high != 0) atomicAdd(&sum.y, high);
}

__device__ __forceinline__ uint64_t WarpMax(uint64_t x) {
  const auto high = static_cast<uint32_t>(x >> 32);
  const uint32_t most = __reduce_max_sync(kWarp, high);
  const uint32_t low =
      __reduce_max_sync(kWarp, high == most ? static_cast<uint32_t>(x) : uint32_t{0});
  return uint64_t{most} << 32 | low;
}

// The highest of a block, in every thread. `scratch` holds kThreads / 32 numbers.
template <int kThreads>
__device__ __forceinline__ uint64_t BlockMax(uint64_t x, uint64_t* scratch) {
  x = WarpMax(x);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) x = max(x, scratch[w]);
  __syncthreads();
  return x;
}

// Of what threads hold: the sum of those before this one, and of all.
struct RunningSum {
  uint64_t before, total;
};
template <int kThreads>
__device__ __forceinline__ RunningSum BlockRunningSum(uint64_t x, uint64_t* scratch) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint64_t inclusive = x;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t other = __shfl_up_sync(kWarp, inclusive, distance);
    inclusive += lane >= distance ? other : 0;
  }
  if (lane == 31) scratch[warp] = inclusive;
  __syncthreads();
  RunningSum sum = {inclusive - x, 0};
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp) sum.before += scratch[w];
    sum.total += scratch[w];
  }
  __syncthreads();
  return sum;
}

}  // namespace peerage::kernels::cuda
