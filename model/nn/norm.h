#pragma once

#include <cstddef>

#include "model/config/model_config.h"

namespace peerage::nn {

// A normalisation with its weight (kernels/norm.h has the formulas).
struct Norm {
  NormType type = NormType::kRmsNorm;
  float epsilon = 1e-5f;
  int width = 0;
  const float* weight = nullptr;  // [width]

  struct Rows {
    const float* x = nullptr;  // [rows][stride]
    float* y = nullptr;        // [rows][stride]; may be x
    size_t stride = 0;
  };
  // Rows [first, end): a thread's share.
  void Forward(const Rows& rows, int first, int end) const;
};

}  // namespace peerage::nn
