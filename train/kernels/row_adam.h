// Adam (Kingma and Ba 2015, Algorithm 1) on one row of a table: what a step does to the rows that
// were picked in it. The others keep their moments as they are.
#pragma once

#include <cstdint>

namespace peerage::kernels {

struct AdamArgs {
  float learning_rate = 0;
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  float weight_decay = 0;     // decoupled (Loshchilov and Hutter 2019): row *= 1 - rate * decay
  float correction1 = 1;      // 1 - beta1^step
  float correction2 = 1;      // 1 - beta2^step
  float gradient_scale = 1;   // the gradient is multiplied by it first
  bool one_variance = false;  // the row's mean square is its elements' only second moment
};

// The row's gradient and first moment are [width], the second moment [width], or [1] with
// one_variance.
struct RowMoments {
  int64_t width = 0;
  float* first = nullptr;
  float* second = nullptr;
};
void AdamRow(const AdamArgs& args, const RowMoments& moments, const float* gradient, float* row);
void AdamRow(const AdamArgs& args, const RowMoments& moments, const float* gradient,
             uint16_t* row /* bf16 */);

}  // namespace peerage::kernels
