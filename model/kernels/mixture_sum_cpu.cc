#include <algorithm>
#include <cmath>

#include "model/kernels/mixture_sum.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/mixture_sum_cpu.cc"
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

constexpr int kLanes = HWY_LANES(float);

void AddScaledTarget(float gate, const float* x, int width, float* sum) {
  const DF d;
  const VF g = hn::Set(d, gate);
  for (int i = 0; i < width; i += kLanes) {
    const int left = width - i;
    const VF added = FusedMulAdd(d, g, LoadFirst(d, x + i, left), LoadFirst(d, sum + i, left));
    StoreFirst(added, d, sum + i, left);
  }
}

void AddMixTarget(float first, float second, const ConstantExpertArgs& args, float* sum) {
  const DF d;
  const VF a1 = hn::Set(d, first), a2 = hn::Set(d, second), g = hn::Set(d, args.gate);
  for (int i = 0; i < args.width; i += kLanes) {
    const int left = args.width - i;
    const VF own = hn::Mul(a2, LoadFirst(d, args.v + i, left));
    const VF mixed = FusedMulAdd(d, a1, LoadFirst(d, args.u + i, left), own);
    StoreFirst(FusedMulAdd(d, g, mixed, LoadFirst(d, sum + i, left)), d, sum + i, left);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(AddScaledTarget);
HWY_EXPORT(AddMixTarget);

void AddScaled(float gate, const float* x, int width, float* sum) {
  HWY_DYNAMIC_DISPATCH(AddScaledTarget)(gate, x, width, sum);
}

void AddConstantExpert(const ConstantExpertArgs& args, float* sum) {
  const float most = std::max(args.scores[0], args.scores[1]);
  const float first = std::exp(args.scores[0] - most), second = std::exp(args.scores[1] - most);
  const float total = first + second;
  HWY_DYNAMIC_DISPATCH(AddMixTarget)(first / total, second / total, args, sum);
}

}  // namespace peerage::kernels
#endif
