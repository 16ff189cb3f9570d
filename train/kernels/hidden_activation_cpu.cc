#include <cmath>
#include <numbers>

#include "train/kernels/hidden_activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "train/kernels/hidden_activation_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/activation-inl.h"
#include "train/kernels/row_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

struct ValueAndSlope {
  VF value;
  VF slope;
};

HWY_INLINE VF Splat(float x) { return hn::Set(DF(), x); }
HWY_INLINE VF Sigmoid(VF x) { return hn::Div(Splat(1), hn::Add(Splat(1), Exp(DF(), hn::Neg(x)))); }

struct SiluWithSlope {
  HWY_INLINE ValueAndSlope operator()(VF x) const {
    const VF s = Sigmoid(x);
    const VF value = hn::Mul(x, s);
    return {value, FusedMulAdd(DF(), value, hn::Sub(Splat(1), s), s)};
  }
};

// value = x Phi(x), slope = Phi(x) + x phi(x)
struct GeluWithSlope {
  HWY_INLINE ValueAndSlope operator()(VF x) const {
    const Normal normal(x);
    const VF density = hn::Mul(normal.bell, Splat(0.39894228f));
    return {hn::Mul(x, normal.phi), FusedMulAdd(DF(), x, density, normal.phi)};
  }
};

// value = x s(u), s the sigmoid and u = x (a + b x^2): (1 + tanh v) / 2 = s(2 v).
struct GeluTanhWithSlope {
  HWY_INLINE ValueAndSlope operator()(VF x) const {
    const DF d;
    const VF a = Splat(1.5957691216f), b = Splat(1.5957691216f * 0.044715f);
    const VF square = hn::Mul(x, x);
    const VF s = Sigmoid(hn::Mul(x, FusedMulAdd(d, square, b, a)));
    const VF value = hn::Mul(x, s);
    const VF inner = FusedMulAdd(d, square, hn::Mul(b, Splat(3)), a);
    return {value, FusedMulAdd(d, hn::Mul(value, hn::Sub(Splat(1), s)), inner, s)};
  }
};

struct ReluWithSlope {
  HWY_INLINE ValueAndSlope operator()(VF x) const {
    const VF zero = hn::Zero(DF());
    return {hn::IfThenZeroElse(hn::Lt(x, zero), x), hn::IfThenElseZero(hn::Gt(x, zero), Splat(1))};
  }
};

template <typename Function>
HWY_INLINE void Apply(Function function, int64_t count, const float* hidden, float* values,
                      float* slopes) {
  const DF d;
  for (int64_t i = 0; i < count; i += kLanes) {
    const ValueAndSlope y = function(LoadFirst(d, hidden + i, count - i));
    StoreFirst(y.value, d, values + i, count - i);
    if (slopes != nullptr) StoreFirst(y.slope, d, slopes + i, count - i);
  }
}

}  // namespace

void ActivateTarget(const ActivateArgs& args, const float* hidden, float* values, float* slopes) {
  switch (args.function) {
    case Activation::kSilu:
      return Apply(SiluWithSlope(), args.count, hidden, values, slopes);
    case Activation::kGelu:
      return Apply(GeluWithSlope(), args.count, hidden, values, slopes);
    case Activation::kGeluTanh:
      return Apply(GeluTanhWithSlope(), args.count, hidden, values, slopes);
    case Activation::kRelu:
      return Apply(ReluWithSlope(), args.count, hidden, values, slopes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace peerage::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace peerage::kernels {
namespace {

struct ExactValueAndSlope {
  double value;
  double slope;
};

ExactValueAndSlope Exactly(Activation function, double x) {
  switch (function) {
    case Activation::kSilu: {
      const double s = 1 / (1 + std::exp(-x));
      return {x * s, s + x * s * (1 - s)};
    }
    case Activation::kGelu: {
      const double phi = std::erfc(-x / std::numbers::sqrt2) / 2;
      const double density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
      return {x * phi, phi + x * density};
    }
    case Activation::kGeluTanh: {
      const double a = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;  // 2 sqrt(2 / pi)
      const double s = 1 / (1 + std::exp(-x * a * (1 + 0.044715 * x * x)));
      return {x * s, s + x * s * (1 - s) * a * (1 + 3 * 0.044715 * x * x)};
    }
    case Activation::kRelu:
      return {x < 0 ? 0 : x, x > 0 ? 1.0 : 0.0};
  }
  return {};
}

}  // namespace

HWY_EXPORT(ActivateTarget);

void Activate(const ActivateArgs& args, const float* hidden, float* values, float* slopes) {
  HWY_DYNAMIC_DISPATCH(ActivateTarget)(args, hidden, values, slopes);
}

void Activate(const ActivateArgs& args, const double* hidden, double* values, double* slopes) {
  for (int64_t i = 0; i < args.count; ++i) {
    const ExactValueAndSlope y = Exactly(args.function, hidden[i]);
    values[i] = y.value;
    if (slopes != nullptr) slopes[i] = y.slope;
  }
}

}  // namespace peerage::kernels
#endif
