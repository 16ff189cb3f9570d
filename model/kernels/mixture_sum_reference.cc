#include <cmath>

#include "model/kernels/mixture_sum.h"

namespace peerage::kernels {

void AddScaledReference(float gate, const float* x, int width, float* sum) {
  for (int i = 0; i < width; ++i) sum[i] = std::fma(gate, x[i], sum[i]);
}

void AddConstantExpertReference(const ConstantExpertArgs& args, double* sum) {
  const double first = 1 / (1 + std::exp(double{args.scores[1]} - args.scores[0]));
  const double second = 1 / (1 + std::exp(double{args.scores[0]} - args.scores[1]));
  for (int i = 0; i < args.width; ++i) {
    sum[i] += args.gate * (first * args.u[i] + second * args.v[i]);
  }
}

}  // namespace peerage::kernels
