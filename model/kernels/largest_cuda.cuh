// The largest of a stream of candidates, by a warp: ranked keys (RankedKey), of which no two are
// equal. Exact for any number in any order; what comes late and is small costs a comparison.
#pragma once

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

// In shared memory, a warp's own.
struct LargestRoom {
  static constexpr int kEntries = 2 * kMaxTopK;
  uint64_t entries[kEntries];
  uint64_t sorted[kMaxTopK];
};

// All functions are called by the whole warp.
class Largest {
 public:
  // Keeps so many, at most kMaxTopK.
  __device__ Largest(LargestRoom& room, int wanted) : room_(room), wanted_(wanted) {}

  // A candidate of each lane; 0 is none.
  __device__ void Offer(uint64_t candidate) {
    const bool passes = candidate > last_;
    const uint32_t passing = __ballot_sync(kWarp, passes);
    if (passing == 0) return;
    const uint32_t before = (1u << threadIdx.x % 32) - 1;
    if (passes) room_.entries[count_ + __popc(passing & before)] = candidate;
    count_ += __popc(passing);
    if (count_ > LargestRoom::kEntries - 32) Sort();
  }

  // Sorts them, largest first, and returns how many there are.
  __device__ int Sort() {
    const int lane = threadIdx.x % 32;
    __syncwarp();
    // A place is the number of those before it.
    for (int i = lane; i < count_; i += 32) {
      int place = 0;
      for (int j = 0; j < count_; ++j) place += room_.entries[j] > room_.entries[i];
      if (place < wanted_) room_.sorted[place] = room_.entries[i];
    }
    __syncwarp();
    count_ = min(count_, wanted_);
    for (int i = lane; i < count_; i += 32) room_.entries[i] = room_.sorted[i];
    __syncwarp();
    if (count_ == wanted_) last_ = room_.entries[wanted_ - 1];
    return count_;
  }
  __device__ uint64_t operator[](int place) const { return room_.entries[place]; }

 private:
  LargestRoom& room_;
  int wanted_;
  int count_ = 0;
  uint64_t last_ = 0;  // no smaller one is among the largest
};

}  // namespace peerage::kernels::cuda
