#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/language_model.h"
#include "model/tokenizer/tokenizer.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/expert_trace.h"

namespace peerage {

// The expert traces that requests may ask for.
struct TraceLimits {
  ExpertTraceLevel level = ExpertTraceLevel::kSummary;
  uint64_t max_bytes = 3 << 20;  // of one request's picks at kFull and hidden states
};

// The model as clients know it, and what they may ask of it. Threads: immutable.
struct ServedModel {
  std::string name;
  ModelDescription description;
  const Tokenizer* tokenizer = nullptr;
  TraceLimits trace_limits = {};
  // The longest text that one generated token may add to an answer; answer_size.h computes it.
  uint64_t token_text_bytes = 0;

  // Resolves a request's `model`: empty means this one, any other name is NOT_FOUND.
  absl::Status CheckName(absl::string_view requested) const;

  v1::ModelRef ref() const;
};

}  // namespace peerage
