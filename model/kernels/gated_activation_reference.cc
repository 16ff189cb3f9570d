#include <cmath>
#include <numbers>

#include "model/kernels/gated_activation.h"

namespace peerage::kernels {

double ActivationReference(Activation function, double x) {
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

void GatedActivationReference(const GatedActivationArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) {
    const float* gate = args.gate + row * args.in_stride;
    const float* up = args.up + row * args.in_stride;
    float* y = args.y + row * args.y_stride;
    for (int i = 0; i < args.width; ++i) {
      y[i] = static_cast<float>(ActivationReference(args.function, gate[i]) * up[i]);
    }
  }
}

}  // namespace peerage::kernels
