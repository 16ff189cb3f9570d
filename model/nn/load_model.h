#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/language_model.h"
#include "model/nn/weight_loader.h"

namespace peerage::nn {

struct LoadOptions {
  WeightsDtype weights_dtype = WeightsDtype::kAuto;
  ExpertDtype expert_dtype = ExpertDtype::kAuto;
  bool count_experts = true;  // whether ReadUsage has something to say
  bool trace_experts = true;  // whether StepOutput has picks
  int threads = 1;
  int num_slots = 1;
  int max_step_tokens = 512;
  int64_t kv_cache_bytes = 0;  // at least one block; more than all slots can use is not taken
  std::function<void(const LoadProgress&)> progress = {};  // from any thread, one at a time
};

// What a model will need, known before anything is loaded.
struct MemoryNeeds {
  uint64_t weights_bytes = 0;
  uint64_t workspace_bytes = 0;
  uint64_t picks_bytes = 0;     // the experts that a step picks
  uint64_t kv_block_bytes = 0;  // over all layers
  int32_t kv_block_tokens = 0;
  // What loading changes, for one log line: "3 q6_k matrices to q8_0", "2 f32 tables to int8", ...
  std::vector<std::string> conversions;
};
absl::StatusOr<MemoryNeeds> PlanMemory(const Checkpoint& checkpoint, const LoadOptions& options);

// Loads a model onto the CPU, hashing its files at the same time. Errors name file and tensor.
absl::StatusOr<std::unique_ptr<LanguageModel>> LoadModel(const Checkpoint& checkpoint,
                                                         const LoadOptions& options);

}  // namespace peerage::nn
