// Normalisation of rows; weight only, no bias; epsilon inside the root.
//
//   RMSNorm (Zhang and Sennrich 2019):  y = x / sqrt(mean(x^2) + eps) * w
//   LayerNorm (Ba et al. 2016):         y = (x - mean(x)) / sqrt(var(x) + eps) * w
#pragma once

#include <cstddef>

namespace peerage::kernels {

struct NormArgs {
  const float* x = nullptr;  // [rows][x_stride]
  size_t x_stride = 0;
  const float* weight = nullptr;  // [width]
  float epsilon = 1e-5f;
  int width = 0;
  float* y = nullptr;  // [rows][y_stride]; may be x
  size_t y_stride = 0;
};
// Rows [first, end).
void RmsNorm(const NormArgs& args, int first, int end);
void LayerNorm(const NormArgs& args, int first, int end);

// The specification: accumulates in double.
void RmsNormReference(const NormArgs& args, int first, int end);
void LayerNormReference(const NormArgs& args, int first, int end);

}  // namespace peerage::kernels
