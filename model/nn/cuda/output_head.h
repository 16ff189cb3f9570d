#pragma once

#include "model/kernels/output_head_cuda.h"
#include "model/nn/cuda/linear_layer.h"
#include "model/nn/cuda/norm.h"

namespace peerage::nn::cuda {

// Lists that sampling reads, on the device.
struct SamplingArrays {
  const kernels::cuda::TokenBias* biases = nullptr;
  const kernels::cuda::SeenToken* seen = nullptr;
  const uint32_t* masked = nullptr;
};

// logits = W_head norm(x) of the rows that were asked for, and what was asked of them.
class OutputHead {
 public:
  OutputHead(const Norm& norm, const LinearLayer& projection)
      : norm_(norm), projection_(projection) {}

  // y = norm(x) of picked rows of the residual stream: hidden states.
  void Normalize(StepContext& step, const int32_t* rows, int count, float* y) const {
    norm_.FloatsOfRows(step, rows, count, y);
  }
  void Forward(StepContext& step, const SamplingArrays& lists) const;
  void RaiseNeeds(LayerNeeds& needs) const;

 private:
  void Report(StepContext& step, int first_row, int count, const SamplingArrays& lists) const;

  Norm norm_;
  LinearLayer projection_;
};

}  // namespace peerage::nn::cuda
