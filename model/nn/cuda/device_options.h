#pragma once

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "model/nn/cuda/weights.h"
#include "model/nn/load_options.h"

// What options say of a CUDA device.
namespace peerage::nn::cuda {

// N of "cuda:N"; -1 for what is no such name.
inline int OrdinalOf(absl::string_view device) {
  int ordinal = -1;
  return absl::SimpleAtoi(absl::StripPrefix(device, "cuda:"), &ordinal) ? ordinal : -1;
}

inline DeviceFloat ActivationsOf(const LoadOptions& options) {
  return options.activation_dtype == ActivationDtype::kF32 ? DeviceFloat::kF32 : DeviceFloat::kBF16;
}

inline DeviceFloat KvTypeOf(const LoadOptions& options) {
  return options.kv_dtype == KvDtype::kF32 ? DeviceFloat::kF32 : DeviceFloat::kBF16;
}

}  // namespace peerage::nn::cuda
