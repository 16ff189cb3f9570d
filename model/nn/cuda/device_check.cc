#include <cuda_runtime_api.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/kernels/attention_cuda.h"
#include "model/kernels/output_head_cuda.h"
#include "model/nn/cuda/cuda_forward_pass.h"
#include "model/nn/cuda/cuda_status.h"
#include "model/nn/cuda/device_options.h"
#include "model/nn/cuda/kv_cache.h"

namespace peerage::nn::cuda {
namespace {

using kernels::cuda::kBlockTokens;

constexpr int kMostStepTokens = 65535;  // rows of a grid

// 12040 is 12.4.
std::string VersionInWords(int version) {
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

// The kernels are for sm_80 and newer.
absl::Status CheckArchitecture(int ordinal) {
  int major = 0, minor = 0;
  RETURN_IF_CUDA_ERROR(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal));
  RETURN_IF_CUDA_ERROR(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal));
  if (major >= 8) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cuda:", ordinal, " is sm_", major, minor, ", and sm_80 or newer is needed"));
}

absl::Status CheckLimits(const ModelPlan& plan, const LoadOptions& options) {
  if (plan.vocab_size > kernels::cuda::kMostVocabulary) {
    return absl::InvalidArgumentError(
        absl::StrCat("the vocabulary has ", plan.vocab_size, " tokens, and a CUDA device takes ",
                     kernels::cuda::kMostVocabulary, "; use the CPU"));
  }
  if (options.max_step_tokens > kMostStepTokens) {
    return absl::InvalidArgumentError(absl::StrCat("a step may have ", options.max_step_tokens,
                                                   " tokens, and a CUDA device takes ",
                                                   kMostStepTokens));
  }
  for (const BlockPlan& block : plan.blocks) {
    const int head_dim = block.HeadDim();
    if (head_dim <= kernels::cuda::kMaxHeadDim) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "head_dim is ", head_dim, ", and attention takes at most ", kernels::cuda::kMaxHeadDim));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> CountDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();  // reported here: nobody shall find it later
  if (error == cudaSuccess || error == cudaErrorNoDevice) {
    return absl::NotFoundError("there is no CUDA device");
  }
  int driver = 0;
  if (error != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver) != cudaSuccess) {
    return absl::UnavailableError(cudaGetErrorString(error));
  }
  if (driver == 0) return absl::NotFoundError("there is no driver for CUDA devices");
  return absl::UnavailableError(absl::StrCat(
      "the driver serves CUDA ", VersionInWords(driver), ", and this program is of CUDA ",
      VersionInWords(CUDART_VERSION), ", which needs driver 580 or newer"));
}

absl::Status CheckDevice(absl::string_view device) {
  ASSIGN_OR_RETURN(const int devices, CountDevices());
  const int ordinal = OrdinalOf(device);
  if (ordinal >= 0 && ordinal < devices) return CheckArchitecture(ordinal);
  const std::string last = devices == 1 ? "" : absl::StrCat(" to cuda:", devices - 1);
  return absl::InvalidArgumentError(absl::StrCat("there is only cuda:0", last));
}

absl::Status CheckLoadable(const ModelPlan& plan, const LoadOptions& options) {
  RETURN_IF_ERROR(CheckDevice(options.device));
  if (options.weights_dtype == WeightsDtype::kQ8_0 ||
      options.weights_dtype == WeightsDtype::kQ4_1) {
    return absl::InvalidArgumentError(
        "weights_dtype q8_0 and q4_1 are for the CPU; CUDA devices hold bf16 or f32");
  }
  if (options.input_tap) {
    return absl::InvalidArgumentError("what layers read can be looked at on the CPU alone");
  }
  RETURN_IF_ERROR(CheckLimits(plan, options));
  const auto block_bytes = static_cast<int64_t>(KvCache(plan, KvTypeOf(options)).block_bytes());
  if (options.kv_cache_bytes < block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the KV cache of ", options.kv_cache_bytes, " bytes does not hold one block of ",
        kBlockTokens, " tokens (", block_bytes, " bytes)"));
  }
  return absl::OkStatus();
}

}  // namespace peerage::nn::cuda
