#pragma once

#include <cstddef>

#include "model/nn/cpu/rows.h"
#include "model/nn/cpu/weight_placer.h"
#include "model/nn/plan/part.h"

namespace peerage::nn::cpu {

// A normalisation with its weight (kernels/norm.h has the formulas).
struct Norm {
  NormType type = NormType::kRmsNorm;
  float epsilon = 1e-5f;
  int width = 0;
  const float* weight = nullptr;  // [width]

  static Norm Place(const NormPlan& plan, WeightPlacer& placer);

  // Rows of `width` values, one behind the other; y may be x.
  void Forward(const float* x, float* y, RowRange rows) const;
};

}  // namespace peerage::nn::cpu
