#pragma once

#include <cuda_runtime_api.h>

#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

// x[t] = table[tokens[t]], as f32; zeros for padding.
struct EmbedArgs {
  const void* table = nullptr;  // [vocabulary][width]
  DeviceFloat table_type = DeviceFloat::kBF16;
  const int32_t* tokens = nullptr;  // [count], -1: padding
  float* x = nullptr;               // [count][width]
  int count = 0;
  int width = 0;
};
cudaError_t Embed(const EmbedArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
