#include <cmath>

#include "model/kernels/norm.h"

namespace peerage::kernels {

void RmsNormReference(const NormArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) {
    const float* x = args.x + row * args.x_stride;
    float* y = args.y + row * args.y_stride;
    double squares = 0;
    for (int i = 0; i < args.width; ++i) squares += double{x[i]} * x[i];
    const double scale = 1 / std::sqrt(squares / args.width + args.epsilon);
    for (int i = 0; i < args.width; ++i) y[i] = static_cast<float>(x[i] * scale * args.weight[i]);
  }
}

void LayerNormReference(const NormArgs& args, int first, int end) {
  for (int row = first; row < end; ++row) {
    const float* x = args.x + row * args.x_stride;
    float* y = args.y + row * args.y_stride;
    double sum = 0;
    for (int i = 0; i < args.width; ++i) sum += x[i];
    const double mean = sum / args.width;
    double squares = 0;
    for (int i = 0; i < args.width; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / std::sqrt(squares / args.width + args.epsilon);
    for (int i = 0; i < args.width; ++i) {
      y[i] = static_cast<float>((x[i] - mean) * scale * args.weight[i]);
    }
  }
}

}  // namespace peerage::kernels
