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
  ForEachVector(width, [&](int64_t c, auto vector) HWY_ATTR {
    const VF g = hn::Mul(vector.Load(gradient + c), hn::Set(d, scale));
    sums = FusedMulAdd(d, g, g, sums);
  });
  return hn::GetLane(hn::SumOfLanes(d, sums)) / static_cast<float>(width);
}

// What all elements of a row have in common.
struct Factors {
  explicit HWY_INLINE Factors(const AdamArgs& a)
      : beta1(hn::Set(DF(), a.beta1)),
        rest1(hn::Set(DF(), (1 - a.beta1) * a.gradient_scale)),
        kept(hn::Set(DF(), 1 - a.learning_rate * a.weight_decay)) {}

  HWY_INLINE VF First(VF first, VF gradient) const {
    return FusedMulAdd(DF(), first, beta1, hn::Mul(gradient, rest1));
  }

  VF beta1, rest1, kept;
};

// row -= rate / c1 * m / (sqrt(v / c2) + eps), as torch.optim.Adam has it.
template <typename T>
HWY_INLINE void StepOfElements(const AdamArgs& a, const RowMoments& moments, const float* gradient,
                               T* row) {
  const DF d;
  const Factors factors(a);
  const VF beta2 = hn::Set(d, a.beta2);
  const VF rest2 = hn::Set(d, (1 - a.beta2) * a.gradient_scale * a.gradient_scale);
  const VF root_correction = hn::Set(d, 1 / std::sqrt(a.correction2));
  const VF epsilon = hn::Set(d, a.epsilon), rate = hn::Set(d, a.learning_rate / a.correction1);
  ForEachVector(moments.width, [&](int64_t c, auto vector) HWY_ATTR {
    const VF g = vector.Load(gradient + c);
    const VF first = factors.First(vector.Load(moments.first + c), g);
    const VF second =
        FusedMulAdd(d, vector.Load(moments.second + c), beta2, hn::Mul(hn::Mul(g, g), rest2));
    const VF divisor = FusedMulAdd(d, hn::Sqrt(second), root_correction, epsilon);
    const VF moved = hn::Div(hn::Mul(rate, first), divisor);
    vector.Store(first, moments.first + c);
    vector.Store(second, moments.second + c);
    vector.Store(hn::Sub(hn::Mul(vector.Load(row + c), factors.kept), moved), row + c);
  });
}

// The same with one v for the row: one division for all of it.
template <typename T>
HWY_INLINE void StepOfRow(const AdamArgs& a, const RowMoments& moments, const float* gradient,
                          T* row) {
  const DF d;
  const Factors factors(a);
  const float mean = MeanSquare(gradient, moments.width, a.gradient_scale);
  *moments.second = a.beta2 * *moments.second + (1 - a.beta2) * mean;
  const float divisor = std::sqrt(*moments.second / a.correction2) + a.epsilon;
  const VF rate = hn::Set(d, a.learning_rate / a.correction1 / divisor);
  ForEachVector(moments.width, [&](int64_t c, auto vector) HWY_ATTR {
    const VF first = factors.First(vector.Load(moments.first + c), vector.Load(gradient + c));
    vector.Store(first, moments.first + c);
    const VF kept = hn::Mul(vector.Load(row + c), factors.kept);
    vector.Store(FusedNegMulAdd(d, rate, first, kept), row + c);
  });
}

template <typename T>
HWY_INLINE void Step(const AdamArgs& args, const RowMoments& moments, const float* gradient,
                     T* row) {
  args.one_variance ? StepOfRow(args, moments, gradient, row)
                    : StepOfElements(args, moments, gradient, row);
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
