#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace peerage {

// What only the host's memory holds where a model lies on another device.
struct HostMemory {
  int64_t expert_usage_bytes = 0;
  int64_t expert_trace_bytes = 0;
  int64_t available_bytes = 0;

  int64_t total_bytes() const { return expert_usage_bytes + expert_trace_bytes; }
};

struct MemoryRequest {
  int64_t weights_bytes = 0;  // of all workers, as the KV cache; the rest each of them has
  int64_t workers = 1;
  int64_t workspace_bytes = 0;
  int64_t expert_usage_bytes = 0;  // counters, server/experts/expert_statistics.h
  int64_t expert_trace_bytes = 0;  // and hidden states, of all requests that run
  int64_t kv_block_bytes = 0;      // over all layers
  int64_t kv_block_tokens = 0;     // positions of one block
  int64_t context_length = 0;
  int64_t max_sequences = 0;                           // of each worker
  std::optional<int64_t> kv_cache_mib = std::nullopt;  // what the user asked for
  int64_t available_bytes = 0;  // server/available_memory.h, or what is free on the device
  std::string device = "cpu";   // whose memory all that is
  std::optional<HostMemory> host = std::nullopt;  // beside that of another device
};

// Where the memory of a model goes, of all workers together.
struct MemoryPlan {
  int64_t workers = 1;
  int64_t weights_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t expert_usage_bytes = 0;
  int64_t expert_trace_bytes = 0;
  int64_t kv_cache_bytes = 0;
  int64_t kv_cache_tokens = 0;
  int64_t available_bytes = 0;
  std::string device = "cpu";
  std::optional<HostMemory> host;

  int64_t total_bytes() const;  // of the device

  // "weights 94.0 MiB + KV cache ... (N tokens) + workspace ... = ... of ... available", and what
  // expert usage and traces, hidden states among them, take. "cuda:0: ...; host: ..." of another
  // device.
  std::string ToString() const;
};

// Sizes the KV cache: what was asked for, else the smaller of the workers' full contexts and a
// quarter of the available memory, or nine tenths of what the rest leaves on another device, which
// is the server's alone: graphs and libraries take a little there. RESOURCE_EXHAUSTED with the
// arithmetic when a sum does not fit. Precondition: nothing is negative, and blocks are not empty.
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request);

}  // namespace peerage
