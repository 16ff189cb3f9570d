#pragma once

#include <cuda_runtime_api.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace peerage::nn::cuda {

// RESOURCE_EXHAUSTED for memory; UNAVAILABLE where the device, or the process's way to it, is lost
// and no later call can work; else INTERNAL.
inline absl::StatusCode CodeOf(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::StatusCode::kResourceExhausted;
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorUnknown:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

inline absl::Status ToStatus(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const absl::StatusCode code = CodeOf(error);
  return absl::Status(
      code, absl::StrCat(code == absl::StatusCode::kUnavailable ? "the device is lost: " : "", what,
                         ": ", cudaGetErrorString(error)));
}

}  // namespace peerage::nn::cuda

#define RETURN_IF_CUDA_ERROR(call)                                                          \
  do {                                                                                      \
    if (absl::Status _status = ::peerage::nn::cuda::ToStatus((call), #call); !_status.ok()) \
      return _status;                                                                       \
  } while (false)
