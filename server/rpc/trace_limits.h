#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/experts/expert_usage.h"
#include "server/engine/request.h"

namespace peerage {

// The expert traces that requests may ask for.
struct TraceLimits {
  ExpertTraceLevel level = ExpertTraceLevel::kSummary;
  uint64_t max_bytes = 3 << 20;  // of one request's picks at kFull
};

// Bytes of ids and scores of a kFull trace, all candidates or continuations together; 0 for the
// other levels.
uint64_t FullTraceBytes(const GenerateRequest& request, absl::Span<const ExpertLayer> layers);
uint64_t FullTraceBytes(const ScoreRequest& request, absl::Span<const ExpertLayer> layers);

// FAILED_PRECONDITION for a level above the server's, OUT_OF_RANGE for a trace that might be larger
// than its limit.
absl::Status CheckTrace(ExpertTraceLevel level, uint64_t full_bytes, const TraceLimits& limits);

}  // namespace peerage
