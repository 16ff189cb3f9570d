#pragma once

#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weight_placer.h"
#include "model/nn/plan/part.h"

namespace peerage::nn::cuda {

// y = norm(x) * weight, as activations.
struct Norm {
  NormType type = NormType::kRmsNorm;
  float epsilon = 1e-5f;
  int width = 0;
  const float* weight = nullptr;

  static Norm Place(const NormPlan& plan, WeightPlacer& placer);

  // All rows of the residual stream.
  Activations OfResidual(StepContext& step) const;
  // Rows of activations.
  Activations Of(StepContext& step, const Activations& input, void* y) const;
  // Picked rows of the residual stream, -1: zeros, for the last that reads it: what waits to be
  // added is added on the way to y alone.
  Activations OfLastRows(StepContext& step, const int32_t* rows, int count, void* y) const;
  // Picked rows of the residual stream as f32, whatever activations are.
  void FloatsOfRows(StepContext& step, const int32_t* rows, int count, float* y) const;
};

}  // namespace peerage::nn::cuda
