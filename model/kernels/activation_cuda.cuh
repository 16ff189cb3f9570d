#pragma once

#include "model/config/activation.h"

namespace peerage::kernels::cuda {

// ActivationReference of model/kernels/gated_activation.h in f32, within a few units of the last
// place; NaN stays NaN.
__device__ __forceinline__ float Activate(Activation function, float x) {
  switch (function) {
    case Activation::kSilu:
      return x / (1 + expf(-x));
    case Activation::kGelu:
      return 0.5f * x * erfcf(-0.70710678118654752f * x);
    case Activation::kGeluTanh: {
      // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u))
      constexpr float kMinusTwoRootTwoByPi = -1.5957691216057308f;
      const float u = kMinusTwoRootTwoByPi * (x + 0.044715f * x * x * x);
      return x / (1 + expf(u));
    }
    case Activation::kRelu:
      return x < 0 ? 0 : x;
  }
  return x;
}

}  // namespace peerage::kernels::cuda
