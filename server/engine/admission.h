#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/language_model.h"
#include "server/engine/request.h"
#include "server/engine/task.h"

namespace peerage {

// What an engine has for all requests together.
struct EngineCapacity {
  ModelCapacity model;
  uint32_t context_length = 0;
  int32_t max_sequences = 0;  // at most the model's slots
};

// DEADLINE_EXCEEDED when a request that has not started may no longer start.
absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now);

// OUT_OF_RANGE, with the arithmetic, for what is longer than the context or has more candidates
// than can ever run.
absl::Status CheckFits(const GenerateRequest& request, const EngineCapacity& capacity);
absl::Status CheckFits(const ScoreRequest& request, const EngineCapacity& capacity);

// OUT_OF_RANGE when so many KV blocks can never be promised.
absl::Status CheckFits(const RequestNeeds& needs, const EngineCapacity& capacity);

}  // namespace peerage
