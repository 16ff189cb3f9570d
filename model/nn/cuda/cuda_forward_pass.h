#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/forward_pass.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/model_plan.h"

// The forward pass on one CUDA device, "cuda:N" of the options. Weights and the cache are the
// device's, kernels are our own (kernels/*_cuda.h) but for products of many rows, which are
// cuBLASLt's. A step is one copy of its description to the device, its launches (one, where it
// decodes: a graph), one copy of its results back, and one wait.
//
// A device that is lost (an illegal access, an uncorrectable memory error) makes every later call
// UNAVAILABLE.
namespace peerage::nn::cuda {

// INVALID_ARGUMENT, with what would be right, for what does not run on the device.
absl::Status CheckLoadable(const ModelPlan& plan, const LoadOptions& options);

absl::StatusOr<MemoryNeeds> MemoryNeedsOf(const ModelPlan& plan, const Checkpoint& checkpoint,
                                          const LoadOptions& options);

absl::StatusOr<std::unique_ptr<ForwardPass>> LoadForwardPass(const ModelPlan& plan,
                                                             const Checkpoint& checkpoint,
                                                             const LoadOptions& options);

// How many devices there are. NOT_FOUND where there is none, or no driver; UNAVAILABLE, with the
// reason, where there may be one that this process cannot use.
absl::StatusOr<int> CountDevices();

// Whether there is a device of that name: as CountDevices, and INVALID_ARGUMENT where there are
// others.
absl::Status CheckDevice(absl::string_view device);

}  // namespace peerage::nn::cuda
