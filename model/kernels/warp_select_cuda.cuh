// The k largest of a warp's candidates, exactly and in order: ranked keys (RankedKey), of which no
// two are equal. All functions are called by whole warps.
#pragma once

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

// What a warp can sort at once; no less than any k.
inline constexpr int kSortRoom = kMaxTopK;

// The key of a score: of equal numbers and of NaNs there is one each.
__device__ __forceinline__ uint32_t ScoreKey(float score) {
  return OrderedKey(score + 0.0f);  // -0 becomes 0
}

// A warp's values, largest first.
__device__ __forceinline__ uint32_t SortDescending(uint32_t x) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 2; k <= 32; k <<= 1) {
#pragma unroll
    for (int j = k >> 1; j > 0; j >>= 1) {
      const uint32_t other = __shfl_xor_sync(kWarp, x, j);
      const bool keep_larger = !(lane & k) == !(lane & j);
      x = keep_larger ? max(x, other) : min(x, other);
    }
  }
  return x;
}

// A lower bound of the k-th largest key, k <= 32: the k-th largest of 64 maxima, two a lane. About
// as many keys more than k reach it as there are maxima that stand for one more.
__device__ __forceinline__ uint64_t BoundByLanes(const uint32_t* keys, int count, int k) {
  const int lane = threadIdx.x % 32;
  uint32_t even = 0, odd = 0;
  for (int i = lane; i < count; i += 64) {
    even = max(even, keys[i]);
    if (i + 32 < count) odd = max(odd, keys[i + 32]);
  }
  // The larger half of two sorted halves, in no order.
  const uint32_t other = __shfl_sync(kWarp, SortDescending(odd), 31 - lane);
  const uint32_t larger = max(SortDescending(even), other);
  return uint64_t{__shfl_sync(kWarp, SortDescending(larger), k - 1)} << 32;
}

// Copies the candidates that are no less than `least` into `room`. Returns how many there are, or
// kSortRoom + 1 if there are more than it holds.
template <typename Candidates>
__device__ __forceinline__ int Gather(const Candidates& candidates, int count, uint64_t least,
                                      uint64_t* room) {
  const int lane = threadIdx.x % 32;
  const uint32_t before = (1u << lane) - 1;
  if (least == 0) least = 1;  // what stands for none is zero
  int found = 0;
  for (int first = 0; first < count; first += 32) {
    const uint64_t candidate = first + lane < count ? candidates(first + lane) : 0;
    const uint32_t passing = __ballot_sync(kWarp, candidate >= least);
    const int place = found + __popc(passing & before);
    found += __popc(passing);
    if (found > kSortRoom) return kSortRoom + 1;  // all lanes
    if (candidate >= least) room[place] = candidate;
  }
  __syncwarp();
  return found;
}

// The k-th largest, bit by bit; or a lower bound that exactly k candidates reach.
template <typename Candidates>
__device__ uint64_t KthLargest(const Candidates& candidates, int count, int k) {
  uint64_t kth = 0;
  for (uint64_t bit = uint64_t{1} << 63; bit != 0; bit >>= 1) {
    int reach = 0;
    for (int i = threadIdx.x % 32; i < count; i += 32) reach += candidates(i) >= (kth | bit);
    reach = __reduce_add_sync(kWarp, reach);
    if (reach >= k) kth |= bit;
    if (reach == k) break;
  }
  return kth;
}

// The k largest, best first, as take(place, candidate). `least`: at least k candidates reach it.
// `room`: [kSortRoom] in shared memory, the warp's own.
template <typename Candidates, typename Take>
__device__ __forceinline__ void SelectLargest(const Candidates& candidates, int count, int k,
                                              uint64_t least, uint64_t* room, const Take& take) {
  int found = Gather(candidates, count, least, room);
  if (found > kSortRoom) {
    __syncwarp();
    found = Gather(candidates, count, KthLargest(candidates, count, k), room);
  }
  // A place is the number of those before it.
  for (int i = threadIdx.x % 32; i < found; i += 32) {
    const uint64_t candidate = room[i];
    int place = 0;
    for (int j = 0; j < found; ++j) place += room[j] > candidate;
    if (place < k) take(place, candidate);
  }
  __syncwarp();
}

}  // namespace peerage::kernels::cuda
