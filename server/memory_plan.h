#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/checkpoint/checkpoint.h"
#include "model/model_config.h"

namespace peerage {

struct MemoryRequest {
  int64_t weights_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t kv_bytes_per_token = 0;
  int64_t context_length = 0;
  int64_t max_sequences = 0;
  std::optional<int64_t> kv_cache_mib;  // what the user asked for
  int64_t available_bytes = 0;          // server/available_memory.h
};

// Where the memory of a model on the CPU goes.
struct MemoryPlan {
  int64_t weights_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t kv_cache_bytes = 0;
  int64_t kv_cache_tokens = 0;
  int64_t available_bytes = 0;

  // "weights 94.0 MiB + KV cache ... (N tokens) + workspace ... = ... of ... available"
  std::string ToString() const;
};

// Sizes the KV cache: what was asked for, else the smaller of max_sequences full contexts and a
// quarter of the available memory. RESOURCE_EXHAUSTED with the arithmetic when the sum does not
// fit.
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request);

// Keys and values of one token over all layers, in f32.
int64_t KvBytesPerToken(const ModelConfig& config);

// The weights in memory: matrices as `dtype` ("auto": as stored), everything else as f32.
int64_t WeightsBytes(absl::Span<const TensorInfo> tensors, const std::string& dtype);

// An estimate of the buffers of the largest step: activations of every token, some rows of logits.
int64_t WorkspaceBytes(const ModelConfig& config, int64_t max_step_tokens);

}  // namespace peerage
