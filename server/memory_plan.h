#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace peerage {

struct MemoryRequest {
  int64_t weights_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t expert_usage_bytes = 0;  // counters, server/experts/expert_statistics.h
  int64_t expert_trace_bytes = 0;  // of all requests that run, server/engine/expert_trace.h
  int64_t kv_block_bytes = 0;      // over all layers
  int64_t kv_block_tokens = 0;     // positions of one block
  int64_t context_length = 0;
  int64_t max_sequences = 0;
  std::optional<int64_t> kv_cache_mib = std::nullopt;  // what the user asked for
  int64_t available_bytes = 0;                         // server/available_memory.h
};

// Where the memory of a model on the CPU goes.
struct MemoryPlan {
  int64_t weights_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t expert_usage_bytes = 0;
  int64_t expert_trace_bytes = 0;
  int64_t kv_cache_bytes = 0;
  int64_t kv_cache_tokens = 0;
  int64_t available_bytes = 0;

  int64_t total_bytes() const;

  // "weights 94.0 MiB + KV cache ... (N tokens) + workspace ... = ... of ... available", and for
  // models with experts what their usage and traces take.
  std::string ToString() const;
};

// Sizes the KV cache: what was asked for, else the smaller of max_sequences full contexts and a
// quarter of the available memory. RESOURCE_EXHAUSTED with the arithmetic when the sum does not
// fit. Precondition: nothing is negative, and blocks are not empty.
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request);

}  // namespace peerage
