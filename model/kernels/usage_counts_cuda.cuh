// The fixed point of model/experts/expert_usage.h on a device, without doubles.
#pragma once

#include <bit>

#include "model/kernels/device_cuda.cuh"
#include "model/kernels/expert_counting_cuda.h"

namespace peerage::kernels::cuda {

using Count = unsigned long long;

// peerage::ExpertScore. Products by a power of two are exact, and so is what follows the point.
__device__ __forceinline__ Count Score(float weight) {
  if (!(weight > 0)) return 0;  // NaN, too
  constexpr float kUnits = static_cast<float>(1 / ExpertCount::kUnit);
  constexpr float kMost = ExpertCount::kMaxWeight;
  const float units = min(weight, kMost) * kUnits, whole = floorf(units);
  return __float2ull_rz(whole) + (units - whole >= 0.5f ? 1 : 0);
}

// The largest float that is no larger: a float is above the one just as it is above the other.
constexpr float RoundDown(double value) {
  const float rounded = static_cast<float>(value);
  return double{rounded} > value ? std::bit_cast<float>(std::bit_cast<uint32_t>(rounded) - 1)
                                 : rounded;
}

inline constexpr int kRatioBuckets = RatioCounts::kBounds.size();
template <int kBucket>
inline constexpr float kMostOfBucket = RoundDown(RatioCounts::kBounds[kBucket]);

// RatioCounts::Add, of a ratio from 0 to 1.
template <int kBucket = 0>
__device__ __forceinline__ int RatioBucket(float ratio) {
  if constexpr (kBucket + 1 == kRatioBuckets) {
    return kBucket;
  } else {
    return ratio > kMostOfBucket<kBucket> ? RatioBucket<kBucket + 1>(ratio) : kBucket;
  }
}
__device__ __forceinline__ void AddRatio(Count* counts, float ratio) {
  atomicAdd(&counts[RatioBucket(ratio)], Count{1});
  atomicAdd(&counts[kRatioBuckets], Score(ratio));
}

// Whether the step's token is one of those for which figures are computed: the first that was ever
// counted, and every kTokensPerSample-th after it. Its number among them chooses a head.
__device__ __forceinline__ bool IsSample(const DeviceTotals& totals, int token) {
  return (totals.tokens + token) % kTokensPerSample == 0;
}
__device__ __forceinline__ int FirstSample(const DeviceTotals& totals) {
  return static_cast<int>((kTokensPerSample - totals.tokens % kTokensPerSample) % kTokensPerSample);
}
inline int MostSamples(int count) {
  return (count + static_cast<int>(kTokensPerSample) - 1) / static_cast<int>(kTokensPerSample);
}

}  // namespace peerage::kernels::cuda
