#include "model/kernels/rotary.h"

namespace peerage::kernels {

void RotateReference(const RotaryArgs& args) {
  const int pairs = args.head_dim / 2;
  for (int head = 0; head < args.heads; ++head) {
    float* x = args.x + head * args.head_dim;
    for (int i = 0; i < pairs; ++i) {
      float& a = x[args.interleaved ? 2 * i : i];
      float& b = x[args.interleaved ? 2 * i + 1 : i + pairs];
      const double turned = double{a} * args.cos[i] - double{b} * args.sin[i];
      b = static_cast<float>(double{b} * args.cos[i] + double{a} * args.sin[i]);
      a = static_cast<float>(turned);
    }
  }
}

}  // namespace peerage::kernels
