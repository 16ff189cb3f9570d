#include <cmath>

#include "model/kernels/norm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/norm_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

// Everything runs in double: squares of f32 never overflow, and normalising costs nothing beside
// the linear layers.
using DD = hn::ScalableTag<double>;
using DF = hn::Rebind<float, DD>;  // as many floats as doubles
using VD = hn::Vec<DD>;

constexpr int kLanes = HWY_LANES(double);
constexpr int kSumVectors = kPartialSums / kLanes;

HWY_INLINE VD LoadFloats(const float* p, int n) {
  return hn::PromoteTo(DD(), LoadFirst(DF(), p, n));
}

// Sum over i of (x[i] - mean)^power, power 1 or 2.
template <int kPower>
HWY_INLINE double SumOfPowers(const float* x, int width, double mean) {
  const DD d;
  VD sum[kSumVectors];
  PEERAGE_UNROLL for (int v = 0; v < kSumVectors; ++v) sum[v] = hn::Zero(d);
  for (int i = 0; i < width; i += kPartialSums) {
    PEERAGE_UNROLL for (int v = 0; v < kSumVectors; ++v) {
      const int at = i + v * kLanes;
      if (at >= width) break;
      VD value = hn::Sub(LoadFloats(x + at, width - at), hn::Set(d, mean));
      value = hn::IfThenElseZero(FirstLanes(d, width - at), value);
      sum[v] = kPower == 2 ? hn::MulAdd(value, value, sum[v]) : hn::Add(sum[v], value);
    }
  }
  alignas(64) double sums[kPartialSums];
  PEERAGE_UNROLL for (int v = 0; v < kSumVectors; ++v) hn::Store(sum[v], d, sums + v * kLanes);
  return AddPartialSums(sums);
}

// y = (x - mean) / sqrt(variance + epsilon) * weight
HWY_INLINE void NormRow(const NormArgs& args, int row, double mean) {
  const DD d;
  const float* x = args.x + row * args.x_stride;
  float* y = args.y + row * args.y_stride;
  const double variance = SumOfPowers<2>(x, args.width, mean) / args.width;
  const VD scale = hn::Set(d, 1 / std::sqrt(variance + args.epsilon));
  for (int i = 0; i < args.width; i += kLanes) {
    const int left = args.width - i;
    const VD normal = hn::Mul(hn::Sub(LoadFloats(x + i, left), hn::Set(d, mean)), scale);
    const VD value = hn::Mul(normal, LoadFloats(args.weight + i, left));
    StoreFirst(hn::DemoteTo(DF(), value), DF(), y + i, left);
  }
}

void RmsNormTarget(const NormArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) NormRow(args, row, 0);
}

void LayerNormTarget(const NormArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) {
    const float* x = args.x + row * args.x_stride;
    NormRow(args, row, SumOfPowers<1>(x, args.width, 0) / args.width);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(RmsNormTarget);
HWY_EXPORT(LayerNormTarget);

void RmsNorm(const NormArgs& args, int first, int end) {
  HWY_DYNAMIC_DISPATCH(RmsNormTarget)(args, first, end);
}

void LayerNorm(const NormArgs& args, int first, int end) {
  HWY_DYNAMIC_DISPATCH(LayerNormTarget)(args, first, end);
}

}  // namespace peerage::kernels
#endif
