#pragma once

#include <cstddef>

#include "model/nn/cuda/step_context.h"
#include "model/nn/cuda/weights.h"

namespace peerage::nn::cuda {

// Where a linear layer's rows go.
struct LinearOutput {
  float* y = nullptr;  // [rows][stride]
  size_t stride = 0;
  bool add = false;
};

// Up to this many rows the weights' bytes decide, and own kernels run, whose bits do not depend on
// the number of rows; more rows are cuBLASLt's where it takes them.
inline constexpr int kMostStreamedRows = 64;

void Forward(const LinearLayer& layer, StepContext& step, const Activations& input, int rows,
             const LinearOutput& output);
void RaiseNeeds(const LinearLayer& layer, int rows, LayerNeeds& needs);

// Of all tokens, added to the residual stream.
void AddToResidual(const LinearLayer& layer, StepContext& step, const Activations& input);

// Matrices of one shape, each on rows of its own (kernels/linear_cuda.h).
struct LinearGroup {
  Matrix shape;                    // of each
  const void* const* w = nullptr;  // [groups] on the device
  int groups = 0;
};
void Forward(const LinearGroup& group, StepContext& step, const Activations& input,
             const int32_t* first_row, int max_rows, const LinearOutput& output);
void RaiseNeeds(const LinearGroup& group, int max_rows, LayerNeeds& needs);

}  // namespace peerage::nn::cuda
