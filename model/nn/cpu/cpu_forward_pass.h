#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/nn/forward_pass.h"
#include "model/nn/load_options.h"
#include "model/nn/plan/model_plan.h"

namespace peerage::nn::cpu {

// What the CPU will take of memory for a model. Reads nothing but the checkpoint's headers.
// Precondition: the plan is that of the checkpoint's config.
absl::StatusOr<MemoryNeeds> MemoryNeedsOf(const ModelPlan& plan, const Checkpoint& checkpoint,
                                          const LoadOptions& options);

// Whether the CPU runs the model, and its KV cache holds at least one block. Reads nothing.
absl::Status CheckLoadable(const ModelPlan& plan, const LoadOptions& options);

// Loads a model for the CPU:
//
//   x = embedding[token];  x = block_l(x) for every layer;  logits = W_head norm(x)
//
// Errors name the tensor, or say what does not fit.
absl::StatusOr<std::unique_ptr<ForwardPass>> LoadForwardPass(const ModelPlan& plan,
                                                             const Checkpoint& checkpoint,
                                                             const LoadOptions& options);

}  // namespace peerage::nn::cpu
