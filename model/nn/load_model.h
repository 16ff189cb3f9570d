#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/weights_dtype.h"

namespace peerage::nn {

struct LoadOptions {
  WeightsDtype weights_dtype = WeightsDtype::kAuto;
  bool count_experts = true;  // whether ReadUsage has something to say
  bool trace_experts = true;  // whether StepOutput has picks
  int threads = 1;
  int num_slots = 1;
  int max_step_tokens = 512;
  int64_t kv_cache_bytes = 0;  // at least one block; more than all slots can use is not taken
};

// What a model will need, known before anything is loaded.
struct MemoryNeeds {
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t kv_block_bytes = 0;  // over all layers
  int32_t kv_block_tokens = 0;
};
MemoryNeeds PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options);

// Loads a model onto the CPU, hashing its files at the same time. Errors name file and tensor.
absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options);

}  // namespace peerage::nn
