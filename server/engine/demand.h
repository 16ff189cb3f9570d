#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "model/language_model.h"
#include "server/engine/request.h"

namespace peerage {

// What a request must hold from its admission on, so that it can always go on to its end without
// taking anything from another one.
struct Demand {
  int64_t blocks = 0;     // KV blocks
  int64_t slots = 0;      // of the model
  int64_t sequences = 0;  // computed at the same time
};

// prompt + max_tokens for every candidate; full blocks of the shared prompt count once.
Demand DemandOf(const GenerateRequest& request, int32_t block_tokens);

// The context, and the longest continuation beside it: the continuations can take turns.
Demand DemandOf(const ScoreRequest& request, int32_t block_tokens);

// What an engine has for all requests together.
struct Supply {
  ModelCapacity capacity;
  uint32_t context_length = 0;
  int32_t max_sequences = 0;
};

// OUT_OF_RANGE, with the arithmetic, when the request can never be admitted.
absl::Status CheckFits(const GenerateRequest& request, const Supply& supply);
absl::Status CheckFits(const ScoreRequest& request, const Supply& supply);

}  // namespace peerage
