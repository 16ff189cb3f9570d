#pragma once

#include <cuda_runtime_api.h>

#include "model/config/activation.h"
#include "model/kernels/device_float_cuda.h"

namespace peerage::kernels::cuda {

// The gate of a gated FFN (Shazeer 2020): y = act(gate) * up.
struct GatedActivationArgs {
  Activation function = Activation::kSilu;
  const float* gate_up = nullptr;  // [rows][2][width]
  void* y = nullptr;               // [rows][width]
  DeviceFloat y_type = DeviceFloat::kBF16;
  const int32_t* rows_used = nullptr;  // on the device: rows behind it are skipped; null: all
  int rows = 0;
  int width = 0;
};
cudaError_t GatedActivation(const GatedActivationArgs& args, cudaStream_t stream);

}  // namespace peerage::kernels::cuda
