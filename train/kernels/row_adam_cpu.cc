#include <cmath>

#include "train/kernels/row_adam.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels/row_adam_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "train/kernels/row_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

float MeanSquare(const float* gradient, int64_t width, float scale) {
  const DF d;
  VF sums = hn::Zero(d);
  for (int64_t c = 0; c < width; c += kLanes) {
    const VF g = hn::Mul(LoadFirst(d, gradient + c, width - c), hn::Set(d, scale));
    sums = FusedMulAdd(d, g, g, sums);
  }
  return hn::GetLane(hn::SumOfLanes(d, sums)) / static_cast<float>(width);
}

HWY_INLINE VF LoadRowPart(const float* row, int64_t left) { return LoadFirst(DF(), row, left); }
HWY_INLINE VF LoadRowPart(const uint16_t* row, int64_t left) {
  if (left >= kLanes) return LoadVector(row);
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < left; ++i) lanes[i] = ToFloat(row[i]);
  return hn::LoadU(DF(), lanes);
}
HWY_INLINE void StoreRowPart(VF v, float* row, int64_t left) { StoreFirst(v, DF(), row, left); }
HWY_INLINE void StoreRowPart(VF v, uint16_t* row, int64_t left) {
  if (left >= kLanes) return StoreVector(v, row);
  float lanes[kLanes];
  hn::StoreU(v, DF(), lanes);
  for (int64_t i = 0; i < left; ++i) row[i] = ToBF16(lanes[i]);
}

// row -= rate / c1 * m / (sqrt(v / c2) + eps), as torch.optim.Adam has it.
template <typename T>
HWY_INLINE void Step(const AdamArgs& a, const RowMoments& moments, const float* gradient, T* row) {
  const DF d;
  const VF beta1 = hn::Set(d, a.beta1), rest1 = hn::Set(d, 1 - a.beta1);
  const VF beta2 = hn::Set(d, a.beta2), rest2 = hn::Set(d, 1 - a.beta2);
  const VF root_correction = hn::Set(d, 1 / std::sqrt(a.correction2));
  const VF epsilon = hn::Set(d, a.epsilon), scale = hn::Set(d, a.gradient_scale);
  const VF rate = hn::Set(d, a.learning_rate / a.correction1);
  const VF kept = hn::Set(d, 1 - a.learning_rate * a.weight_decay);
  VF second = hn::Zero(d);
  if (a.one_variance) {
    const float mean = MeanSquare(gradient, moments.width, a.gradient_scale);
    *moments.second = a.beta2 * *moments.second + (1 - a.beta2) * mean;
    second = hn::Set(d, *moments.second);
  }
  for (int64_t c = 0; c < moments.width; c += kLanes) {
    const int64_t left = moments.width - c;
    const VF g = hn::Mul(LoadFirst(d, gradient + c, left), scale);
    const VF first =
        FusedMulAdd(d, LoadFirst(d, moments.first + c, left), beta1, hn::Mul(g, rest1));
    StoreFirst(first, d, moments.first + c, left);
    if (!a.one_variance) {
      second = FusedMulAdd(d, LoadFirst(d, moments.second + c, left), beta2,
                           hn::Mul(hn::Mul(g, g), rest2));
      StoreFirst(second, d, moments.second + c, left);
    }
    const VF divisor = FusedMulAdd(d, hn::Sqrt(second), root_correction, epsilon);
    const VF moved = hn::Div(hn::Mul(rate, first), divisor);
    StoreRowPart(hn::Sub(hn::Mul(LoadRowPart(row + c, left), kept), moved), row + c, left);
  }
}

}  // namespace

void StepF32(const AdamArgs& args, const RowMoments& moments, const float* gradient, float* row) {
  Step(args, moments, gradient, row);
}
void StepBF16(const AdamArgs& args, const RowMoments& moments, const float* gradient,
              uint16_t* row) {
  Step(args, moments, gradient, row);
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(StepF32);
HWY_EXPORT(StepBF16);

void AdamRow(const AdamArgs& args, const RowMoments& moments, const float* gradient, float* row) {
  HWY_DYNAMIC_DISPATCH(StepF32)(args, moments, gradient, row);
}
void AdamRow(const AdamArgs& args, const RowMoments& moments, const float* gradient,
             uint16_t* row) {
  HWY_DYNAMIC_DISPATCH(StepBF16)(args, moments, gradient, row);
}

}  // namespace peerage::kernels
#endif
