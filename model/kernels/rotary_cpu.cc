// Plain loops: without a sum there is no order to fix, and the compiler's own vectors suffice for
// two products a value.
#include <cmath>

#include "model/kernels/rotary.h"

namespace peerage::kernels {
namespace {

// Pairs (x[i * kStep], y[i * kStep]).
template <int kStep>
void RotatePairs(const RotaryArgs& args, float* first, float* second) {
  const int pairs = args.head_dim / 2;
  const float* __restrict cos = args.cos;
  const float* __restrict sin = args.sin;
  float* __restrict a = first;
  float* __restrict b = second;
  for (int i = 0; i < pairs; ++i) {
    const float x = a[i * kStep];
    const float y = b[i * kStep];
    a[i * kStep] = x * cos[i] - y * sin[i];
    b[i * kStep] = y * cos[i] + x * sin[i];
  }
}

}  // namespace

void RotaryAngles(int position, float theta, int head_dim, float* cos, float* sin) {
  for (int i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float frequency = 1.0f / static_cast<float>(std::pow(double{theta}, double{exponent}));
    const double angle = static_cast<float>(position) * frequency;
    cos[i] = static_cast<float>(std::cos(angle));
    sin[i] = static_cast<float>(std::sin(angle));
  }
}

void Rotate(const RotaryArgs& args) {
  for (int head = 0; head < args.heads; ++head) {
    float* x = args.x + head * args.head_dim;
    if (args.interleaved) {
      RotatePairs<2>(args, x, x + 1);
    } else {
      RotatePairs<1>(args, x, x + args.head_dim / 2);
    }
  }
}

}  // namespace peerage::kernels
