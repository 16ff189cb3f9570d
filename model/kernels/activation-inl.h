// The activation functions as vector functions, for the kernels that apply one. Their results do
// not depend on the vector's width. Absolute error below 1e-6 for |x| <= 10.
// Included once per instruction set, after hwy/highway.h (hence the unusual guard).
#if defined(PEERAGE_MODEL_KERNELS_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef PEERAGE_MODEL_KERNELS_ACTIVATION_INL_H_
#undef PEERAGE_MODEL_KERNELS_ACTIVATION_INL_H_
#else
#define PEERAGE_MODEL_KERNELS_ACTIVATION_INL_H_
#endif

#include "hwy/highway.h"
#include "model/kernels/gated_activation.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {

using ActivationTag = hn::ScalableTag<float>;
using ActivationVector = hn::Vec<ActivationTag>;

struct Silu {
  HWY_INLINE ActivationVector operator()(ActivationVector x) const {
    const ActivationTag d;
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, hn::Neg(x))));
  }
};

// Phi(x) of the standard normal distribution, and e^(-x^2 / 2), which is its density but for a
// factor. Phi(-|x|) = erfc(|x| / sqrt 2) / 2 by Abramowitz and Stegun 7.1.26 (absolute error of
// erfc below 1.5e-7): erfc(z) = (a1 t + .. + a5 t^5) e^(-z^2), t = 1 / (1 + 0.3275911 z).
struct Normal {
  explicit HWY_INLINE Normal(ActivationVector x) {
    const ActivationTag d;
    const ActivationVector one = hn::Set(d, 1.0f);
    const ActivationVector z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
    const ActivationVector t = hn::Div(one, FusedMulAdd(d, z, hn::Set(d, 0.3275911f), one));
    ActivationVector y = hn::Set(d, 1.061405429f);
    y = FusedMulAdd(d, y, t, hn::Set(d, -1.453152027f));
    y = FusedMulAdd(d, y, t, hn::Set(d, 1.421413741f));
    y = FusedMulAdd(d, y, t, hn::Set(d, -0.284496736f));
    y = FusedMulAdd(d, y, t, hn::Set(d, 0.254829592f));
    bell = Exp(d, hn::Neg(hn::Mul(z, z)));
    const ActivationVector half_erfc = hn::Mul(hn::Mul(hn::Mul(y, t), bell), hn::Set(d, 0.5f));
    const auto negative = hn::Lt(x, hn::Zero(d));
    phi = hn::IfThenElse(negative, half_erfc, hn::Sub(one, half_erfc));
  }

  ActivationVector phi;
  ActivationVector bell;
};

struct Gelu {
  HWY_INLINE ActivationVector operator()(ActivationVector x) const {
    return hn::Mul(x, Normal(x).phi);
  }
};

// (1 + tanh u) / 2 = 1 / (1 + e^(-2u))
struct GeluTanh {
  HWY_INLINE ActivationVector operator()(ActivationVector x) const {
    const ActivationTag d;
    constexpr float kScale = -1.5957691216f;  // -2 sqrt(2 / pi)
    const ActivationVector square = hn::Mul(x, x);
    const ActivationVector u =
        FusedMulAdd(d, square, hn::Set(d, kScale * 0.044715f), hn::Set(d, kScale));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, hn::Mul(x, u))));
  }
};

struct Relu {
  HWY_INLINE ActivationVector operator()(ActivationVector x) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(ActivationTag())), x);  // NaN stays NaN
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#endif  // PEERAGE_MODEL_KERNELS_ACTIVATION_INL_H_
