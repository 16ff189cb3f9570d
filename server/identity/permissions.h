#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "server/engine/expert_trace.h"

namespace peerage {

// What one principal may do; nothing unless it says so. A limit without a value is none.
struct Permissions {
  absl::flat_hash_set<std::string> methods;  // "peerage.v1.InferenceService/Generate"
  std::vector<std::string> models;           // "*": all
  // What `scheduling` may say. Lower priorities run sooner.
  int32_t first_priority = 0;
  int32_t last_priority = 100;
  // The first one is that of requests which name none; "*": any. Empty: the principal's own name.
  std::vector<std::string> tenants;
  ExpertTraceLevel traces = ExpertTraceLevel::kNone;
  bool hidden_states = false;
  bool expert_control = false;
  std::optional<double> requests_per_second;
  std::optional<double> tokens_per_second;  // read, and asked for
  std::optional<int> concurrency;           // calls at the same time
};

// Whether a list names it, or everything.
bool Lists(const std::vector<std::string>& names, const std::string& name);

}  // namespace peerage
