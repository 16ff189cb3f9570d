// One-neuron experts (PEER, He 2024, section 2.2) gathered from a table in device memory
// (model/kernels/experts.h, whose records these are: expert_record.h).
#pragma once

#include <cuda_runtime_api.h>

#include "model/config/activation.h"
#include "model/kernels/device_float_cuda.h"
#include "model/kernels/experts.h"

namespace peerage::kernels::cuda {

// partials[t][h] = sum over the picks of a head, in order, of weight * act(down[id] . x) * up[id]
// (with a gate, and values, likewise); where a vector is short, threads in 2, 4 or 8 groups share
// the picks, whose sums are added in order. x is used as it is: unlike the CPU's integer formats it
// is not rounded. As f32 it has to fit the shared memory of a block: widths up to 24,000 do
// everywhere.
struct ExpertArgs {
  ExpertTable table;  // records are in device memory
  Activation activation = Activation::kGelu;
  int heads = 0;
  int top_k = 0;
  const void* x = nullptr;  // [count][x_stride]; not read by values
  DeviceFloat x_type = DeviceFloat::kBF16;
  size_t x_stride = 0;
  const uint32_t* ids = nullptr;   // [count][heads][top_k]; kNoExpert adds nothing
  const float* weights = nullptr;  // likewise
  float* partials = nullptr;       // [count][heads][width]
  int count = 0;
};
cudaError_t RunExperts(const ExpertArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
