#pragma once

#include <string>

#include "model/nn/cuda/cuda_forward_pass.h"
#include "tests/support/forward_pass_fixture.h"

namespace peerage {

// A device whose activations and cache are f32, so that it can be held against double.
inline DeviceUnderTest F32Device(const std::string& name, bool batch_invariant) {
  const auto with_f32 = [batch_invariant](nn::LoadOptions options) {
    options.device = "cuda:0";
    options.activation_dtype = nn::ActivationDtype::kF32;
    options.kv_dtype = nn::KvDtype::kF32;
    options.cuda_batch_invariant = batch_invariant;
    return options;
  };
  return {.name = name,
          .load =
              [with_f32](const nn::ModelPlan& plan, const Checkpoint& checkpoint,
                         const nn::LoadOptions& options) {
                return nn::cuda::LoadForwardPass(plan, checkpoint, with_f32(options));
              },
          .plan_memory =
              [with_f32](const nn::ModelPlan& plan, const Checkpoint& checkpoint,
                         const nn::LoadOptions& options) {
                return nn::cuda::MemoryNeedsOf(plan, checkpoint, with_f32(options));
              },
          .tolerance = 1e-4,
          .batch_invariant = batch_invariant,
          .threads = {1}};
}

}  // namespace peerage
