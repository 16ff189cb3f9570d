#include "model/kernels/gated_activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/gated_activation_cpu.cc"
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

struct Silu {
  HWY_INLINE VF operator()(VF x) const {
    const DF d;
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, hn::Neg(x))));
  }
};

// x Phi(x), with Phi(-|x|) = erfc(|x| / sqrt 2) / 2 by Abramowitz and Stegun 7.1.26 (absolute error
// of erfc below 1.5e-7): erfc(z) = (a1 t + .. + a5 t^5) e^(-z^2), t = 1 / (1 + 0.3275911 z).
struct Gelu {
  HWY_INLINE VF operator()(VF x) const {
    const DF d;
    const VF one = hn::Set(d, 1.0f);
    const VF z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
    const VF t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
    VF y = hn::Set(d, 1.061405429f);
    y = hn::MulAdd(y, t, hn::Set(d, -1.453152027f));
    y = hn::MulAdd(y, t, hn::Set(d, 1.421413741f));
    y = hn::MulAdd(y, t, hn::Set(d, -0.284496736f));
    y = hn::MulAdd(y, t, hn::Set(d, 0.254829592f));
    const VF half_erfc =
        hn::Mul(hn::Mul(hn::Mul(y, t), Exp(d, hn::Neg(hn::Mul(z, z)))), hn::Set(d, 0.5f));
    const auto negative = hn::Lt(x, hn::Zero(d));
    return hn::Mul(x, hn::IfThenElse(negative, half_erfc, hn::Sub(one, half_erfc)));
  }
};

// (1 + tanh u) / 2 = 1 / (1 + e^(-2u))
struct GeluTanh {
  HWY_INLINE VF operator()(VF x) const {
    const DF d;
    constexpr float kScale = -1.5957691216f;  // -2 sqrt(2 / pi)
    const VF square = hn::Mul(x, x);
    const VF u = hn::MulAdd(square, hn::Set(d, kScale * 0.044715f), hn::Set(d, kScale));
    return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, hn::Mul(x, u))));
  }
};

struct Relu {
  HWY_INLINE VF operator()(VF x) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(DF())), x);  // NaN stays NaN
  }
};

template <class Activation>
HWY_INLINE void Apply(const GatedActivationArgs& args, int first, int end) {
  const DF d;
  const Activation activation;
  for (int row = first; row < end; ++row) {
    const float* gate = args.gate + row * args.in_stride;
    const float* up = args.up + row * args.in_stride;
    float* y = args.y + row * args.y_stride;
    for (int i = 0; i < args.width; i += kLanes) {
      const int left = args.width - i;
      const VF act = activation(LoadFirst(d, gate + i, left));
      StoreFirst(hn::Mul(act, LoadFirst(d, up + i, left)), d, y + i, left);
    }
  }
}

void GatedActivationTarget(const GatedActivationArgs& args, int first, int end) {
  switch (args.function) {
    case ActivationFunction::kSilu:
      return Apply<Silu>(args, first, end);
    case ActivationFunction::kGelu:
      return Apply<Gelu>(args, first, end);
    case ActivationFunction::kGeluTanh:
      return Apply<GeluTanh>(args, first, end);
    case ActivationFunction::kRelu:
      return Apply<Relu>(args, first, end);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {

HWY_EXPORT(GatedActivationTarget);

void GatedActivation(const GatedActivationArgs& args, int first, int end) {
  HWY_DYNAMIC_DISPATCH(GatedActivationTarget)(args, first, end);
}

}  // namespace peerage::kernels
#endif
