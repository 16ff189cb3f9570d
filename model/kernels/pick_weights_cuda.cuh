// The weights of one head's picks, by a warp. They depend on the picks and their order alone, so
// that picks which a request forces have the bits that they had when they were chosen.
#pragma once

#include "model/config/activation.h"
#include "model/kernels/device_cuda.cuh"
#include "model/kernels/product_keys_cuda.h"

namespace peerage::kernels::cuda {

// What is taken from scores before they become exponentials: the best, unless it is minus infinity,
// from which nothing can be taken.
__device__ __forceinline__ float ExponentialOrigin(float best) {
  return best < -3.4028235e38f ? 0 : best;
}

// For softmax still to be divided by the sum over all picks. `best`: the largest sum; joint() is
// the weight of kJointSoftmax.
template <typename Joint>
__device__ __forceinline__ float WeightOf(RouterScore score, float sum, float best,
                                          const Joint& joint) {
  switch (score) {
    case RouterScore::kSoftmax:
      return expf(sum - best);
    case RouterScore::kSigmoid:
      return 1 / (1 + expf(-sum));
    case RouterScore::kRelu:
      return sum < 0 ? 0 : sum;
    case RouterScore::kJointSoftmax:
      return joint();
  }
  return 0;
}

// write(pick, weight) for all `count` picks, of weight_of(pick).
template <typename WeightOf, typename Write>
__device__ __forceinline__ void WeighPicks(RouterScore score, int count, const WeightOf& weight_of,
                                           const Write& write) {
  const int lane = threadIdx.x % 32;
  float weights[kMaxTopK / 32], total = 0;
#pragma unroll
  for (int x = 0; x < kMaxTopK / 32; ++x) {
    const int pick = x * 32 + lane;
    weights[x] = pick < count ? weight_of(pick) : 0;
    total += weights[x];
  }
  total = WarpSum(total);
#pragma unroll
  for (int x = 0; x < kMaxTopK / 32; ++x) {
    const int pick = x * 32 + lane;
    if (pick >= count) continue;
    write(pick, score == RouterScore::kSoftmax ? weights[x] / total : weights[x]);
  }
}

// ---- the sum over all of a half's exponentials, which kJointSoftmax needs: chunk by chunk, as
// lists of the best are made

struct ChunkExponentials {
  float best = 0;  // score
  float sum = 0;   // of exp(score - ExponentialOrigin(best))
};

// Of score keys, by a warp, in an order that their number gives.
__device__ __forceinline__ ChunkExponentials SumExponentials(const uint32_t* keys, int count) {
  uint32_t most = 0;
  for (int i = threadIdx.x % 32; i < count; i += 32) most = max(most, keys[i]);
  ChunkExponentials chunk{.best = FromOrderedKey(__reduce_max_sync(kWarp, most))};
  const float origin = ExponentialOrigin(chunk.best);
  for (int i = threadIdx.x % 32; i < count; i += 32) {
    chunk.sum += expf(FromOrderedKey(keys[i]) - origin);
  }
  chunk.sum = WarpSum(chunk.sum);
  return chunk;
}

// A lane's chunks, added up one by one.
class LogSumOfChunks {
 public:
  // `best`: of all scores.
  __device__ explicit LogSumOfChunks(float best) : origin_(ExponentialOrigin(best)) {}
  __device__ void Add(const ChunkExponentials& chunk) {
    if (chunk.sum != 0) sum_ += chunk.sum * expf(ExponentialOrigin(chunk.best) - origin_);
  }
  // By the whole warp.
  __device__ float Value() const { return origin_ + logf(WarpSum(sum_)); }

 private:
  float origin_;
  float sum_ = 0;
};

}  // namespace peerage::kernels::cuda
