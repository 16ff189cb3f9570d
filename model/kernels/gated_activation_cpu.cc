#include "model/kernels/gated_activation.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/gated_activation_cpu.cc"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "model/kernels/activation-inl.h"
#include "model/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace peerage::kernels {
namespace HWY_NAMESPACE {
namespace {

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

constexpr int kLanes = HWY_LANES(float);

template <class Function>
HWY_INLINE void Apply(const GatedActivationArgs& args, int first, int end) {
  const DF d;
  const Function function;
  for (int row = first; row < end; ++row) {
    const float* gate = args.gate + row * args.in_stride;
    const float* up = args.up + row * args.in_stride;
    float* y = args.y + row * args.y_stride;
    for (int i = 0; i < args.width; i += kLanes) {
      const int left = args.width - i;
      const VF act = function(LoadFirst(d, gate + i, left));
      StoreFirst(hn::Mul(act, LoadFirst(d, up + i, left)), d, y + i, left);
    }
  }
}

void GatedActivationTarget(const GatedActivationArgs& args, int first, int end) {
  switch (args.function) {
    case Activation::kSilu:
      return Apply<Silu>(args, first, end);
    case Activation::kGelu:
      return Apply<Gelu>(args, first, end);
    case Activation::kGeluTanh:
      return Apply<GeluTanh>(args, first, end);
    case Activation::kRelu:
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
