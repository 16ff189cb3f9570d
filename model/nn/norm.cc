#include "model/nn/norm.h"

#include "model/kernels/norm.h"

namespace peerage::nn {

void Norm::Forward(const Rows& rows, int first, int end) const {
  const kernels::NormArgs args{.x = rows.x,
                               .x_stride = rows.stride,
                               .weight = weight,
                               .epsilon = epsilon,
                               .width = width,
                               .y = rows.y,
                               .y_stride = rows.stride};
  if (type == NormType::kRmsNorm) {
    kernels::RmsNorm(args, first, end);
  } else {
    kernels::LayerNorm(args, first, end);
  }
}

}  // namespace peerage::nn
