// The activation functions in double: the specification.
#pragma once

#include <cmath>
#include <numbers>

#include "model/kernels/gated_activation.h"

namespace peerage::kernels {

inline double ActivationReference(Activation function, double x) {
  switch (function) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kGelu:
      return x / 2 * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kGeluTanh: {
      const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return x / 2 * (1 + std::tanh(u));
    }
    case Activation::kRelu:
      return x < 0 ? 0 : x;
  }
  return x;
}

}  // namespace peerage::kernels
