#include "model/nn/cpu/norm.h"

#include "model/kernels/norm.h"

namespace peerage::nn::cpu {

Norm Norm::Place(const NormPlan& plan, WeightPlacer& placer) {
  return {.type = plan.type,
          .epsilon = plan.epsilon,
          .width = plan.width,
          .weight = placer.Vector(plan.weight)};
}

void Norm::Forward(const float* x, float* y, RowRange rows) const {
  const size_t stride = width;
  const kernels::NormArgs args{.x = x,
                               .x_stride = stride,
                               .weight = weight,
                               .epsilon = epsilon,
                               .width = width,
                               .y = y,
                               .y_stride = stride};
  if (type == NormType::kRmsNorm) {
    kernels::RmsNorm(args, rows.first, rows.end);
  } else {
    kernels::LayerNorm(args, rows.first, rows.end);
  }
}

}  // namespace peerage::nn::cpu
