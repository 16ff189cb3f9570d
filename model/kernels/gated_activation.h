// The gate of a gated FFN (Shazeer 2020): y = act(gate) * up, elementwise.
#pragma once

#include <cstddef>

#include "model/config/activation.h"

namespace peerage::kernels {

// The specification of the functions.
double ActivationReference(Activation function, double x);

struct GatedActivationArgs {
  Activation function = Activation::kSilu;
  const float* gate = nullptr;  // [rows][in_stride]
  const float* up = nullptr;    // [rows][in_stride]
  size_t in_stride = 0;
  int width = 0;
  float* y = nullptr;  // [rows][y_stride]
  size_t y_stride = 0;
};
// Rows [first, end). Absolute error of the activation below 1e-6 for |x| <= 10.
void GatedActivation(const GatedActivationArgs& args, int first, int end);
void GatedActivationReference(const GatedActivationArgs& args, int first, int end);

}  // namespace peerage::kernels
