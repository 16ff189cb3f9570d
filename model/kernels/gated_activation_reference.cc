#include "model/kernels/activation_reference.h"
#include "model/kernels/gated_activation.h"

namespace peerage::kernels {

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
