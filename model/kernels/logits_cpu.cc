#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "model/kernels/logits.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/logits_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;
// As many floats as doubles.
using DD = hn::ScalableTag<double>;
using DH = hn::Rebind<float, DD>;

constexpr size_t kLanes = HWY_LANES(float);
constexpr size_t kHalfLanes = HWY_LANES(double);
constexpr size_t kSumVectors = kPartialSums / kHalfLanes;

// The vector at `p`; -infinity behind its first `n` values.
template <class D>
HWY_INLINE hn::Vec<D> LoadLogits(D d, const float* p, size_t n) {
  if (n >= hn::Lanes(d)) return hn::LoadU(d, p);
  const auto exists = FirstLanes(d, n);
  return hn::IfThenElse(exists, hn::MaskedLoad(exists, d, p), hn::Neg(hn::Inf(d)));
}

HWY_INLINE float Highest(std::span<const float> logits) {
  const DF d;
  VF highest = hn::Neg(hn::Inf(d));
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    highest = hn::Max(highest, LoadLogits(d, logits.data() + i, logits.size() - i));
  }
  return hn::GetLane(hn::MaxOfLanes(d, highest));
}

// Every exponential is f32; their sum is a double, or a large vocabulary would cost digits.
float LogSumExpTarget(std::span<const float> logits) {
  const DD d;
  const DH dh;
  if (logits.empty()) return std::numeric_limits<float>::quiet_NaN();
  const float highest = Highest(logits);
  hn::Vec<DD> sum[kSumVectors];
  PEERAGE_UNROLL for (size_t v = 0; v < kSumVectors; ++v) sum[v] = hn::Zero(d);
  for (size_t i = 0; i < logits.size(); i += kPartialSums) {
    PEERAGE_UNROLL for (size_t v = 0; v < kSumVectors; ++v) {
      const size_t at = i + v * kHalfLanes;
      if (at >= logits.size()) break;
      const auto x = LoadLogits(dh, logits.data() + at, logits.size() - at);
      const auto e = Exp(dh, hn::Sub(x, hn::Set(dh, highest)));
      sum[v] = hn::Add(sum[v], hn::PromoteTo(d, e));
    }
  }
  alignas(64) double sums[kPartialSums];
  PEERAGE_UNROLL for (size_t v = 0; v < kSumVectors; ++v) {
    hn::Store(sum[v], d, sums + v * kHalfLanes);
  }
  return static_cast<float>(highest + std::log(AddPartialSums(sums)));
}

template <bool kOrEqual>
HWY_INLINE size_t CountAbove(std::span<const float> logits, float threshold) {
  const DF d;
  const VF bound = hn::Set(d, threshold);
  size_t count = 0;
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    const size_t left = logits.size() - i;
    const VF x = LoadFirst(d, logits.data() + i, left);
    const auto above = kOrEqual ? hn::Ge(x, bound) : hn::Gt(x, bound);
    count += hn::CountTrue(d, hn::And(above, FirstLanes(d, left)));
  }
  return count;
}

uint32_t RankTarget(std::span<const float> logits, uint32_t index) {
  const size_t before = CountAbove<true>(logits.first(index), logits[index]);
  return 1 + before + CountAbove<false>(logits.subspan(index + 1), logits[index]);
}

// Index of the first logit at or behind `begin` that is above the threshold; else logits.size().
size_t FindAboveTarget(std::span<const float> logits, size_t begin, float threshold) {
  const DF d;
  const VF bound = hn::Set(d, threshold);
  for (size_t i = begin; i < logits.size(); i += kLanes) {
    const VF x = LoadLogits(d, logits.data() + i, logits.size() - i);
    const intptr_t lane = hn::FindFirstTrue(d, hn::Gt(x, bound));
    if (lane >= 0) return i + lane;
  }
  return logits.size();
}

void SoftmaxWeightsTarget(std::span<const float> logits, float temperature, float* weights) {
  const DF d;
  const VF highest = hn::Set(d, Highest(logits));
  const VF scale = hn::Set(d, 1 / temperature);
  for (size_t i = 0; i < logits.size(); i += kLanes) {
    const size_t left = logits.size() - i;
    const VF x = hn::Sub(LoadLogits(d, logits.data() + i, left), highest);
    StoreFirst(Exp(d, hn::Mul(x, scale)), d, weights + i, left);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(LogSumExpTarget);
HWY_EXPORT(RankTarget);
HWY_EXPORT(FindAboveTarget);
HWY_EXPORT(SoftmaxWeightsTarget);

float LogSumExp(std::span<const float> logits) {
  return HWY_DYNAMIC_DISPATCH(LogSumExpTarget)(logits);
}

uint32_t Rank(std::span<const float> logits, uint32_t index) {
  return HWY_DYNAMIC_DISPATCH(RankTarget)(logits, index);
}

uint32_t ArgMax(std::span<const float> logits) {
  uint32_t best;
  TopK(logits, {&best, 1});
  return best;
}

// `top` is a heap with its worst on top. Scanning upwards, a later equal never displaces.
void TopK(std::span<const float> logits, std::span<uint32_t> top) {
  if (top.empty()) return;
  const auto better = [&](uint32_t a, uint32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::iota(top.begin(), top.end(), 0);
  std::make_heap(top.begin(), top.end(), better);
  const auto find_above = HWY_DYNAMIC_DISPATCH(FindAboveTarget);
  for (size_t i = top.size();; ++i) {
    i = find_above(logits, i, logits[top.front()]);
    if (i >= logits.size()) break;
    std::pop_heap(top.begin(), top.end(), better);
    top.back() = static_cast<uint32_t>(i);
    std::push_heap(top.begin(), top.end(), better);
  }
  std::sort_heap(top.begin(), top.end(), better);
}

void SoftmaxWeights(std::span<const float> logits, float temperature, std::span<float> weights) {
  HWY_DYNAMIC_DISPATCH(SoftmaxWeightsTarget)(logits, temperature, weights.data());
}

}  // namespace peerage::kernels
#endif
