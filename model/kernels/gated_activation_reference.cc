#include <cmath>
#include <numbers>

#include "model/kernels/gated_activation.h"

namespace peerage::kernels {
namespace {

double Activation(ActivationFunction function, double x) {
  switch (function) {
    case ActivationFunction::kSilu:
      return x / (1 + std::exp(-x));
    case ActivationFunction::kGelu:
      return x / 2 * std::erfc(-x / std::numbers::sqrt2);
    case ActivationFunction::kGeluTanh: {
      const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      return x / 2 * (1 + std::tanh(u));
    }
    case ActivationFunction::kRelu:
      return x < 0 ? 0 : x;
  }
  return x;
}

}  // namespace

void GatedActivationReference(const GatedActivationArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) {
    const float* gate = args.gate + row * args.in_stride;
    const float* up = args.up + row * args.in_stride;
    float* y = args.y + row * args.y_stride;
    for (int i = 0; i < args.width; ++i) {
      y[i] = static_cast<float>(Activation(args.function, gate[i]) * up[i]);
    }
  }
}

}  // namespace peerage::kernels
