#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/request.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// The most tokens that a request computes, all candidates or continuations together, and that its
// trace has: a last token is not computed.
uint64_t ComputedTokens(const GenerateRequest& request);
uint64_t ComputedTokens(const ScoreRequest& request);

// The most bytes of text that a generated token adds to an answer.
uint64_t MostTextBytes(const Tokenizer& tokenizer);

// Whether a request's answer can be given, before anything is computed for it.
// FAILED_PRECONDITION for an expert trace above the server's level, OUT_OF_RANGE for a full one and
// hidden states that together might outgrow the server's limit.
//
// A unary answer is one message: OUT_OF_RANGE for one that might be larger than a message, were all
// its tokens the longest that there are.
absl::Status CheckAnswer(const GenerateRequest& request, const ServedModel& model);
absl::Status CheckAnswer(const ScoreRequest& request, const ServedModel& model);

// A streamed answer is many messages: only its trace and hidden states have to fit
// into one.
absl::Status CheckStreamedAnswer(const GenerateRequest& request, const ServedModel& model);

// OUT_OF_RANGE for a message that might be too large. Each of `logprobs` reported tokens has
// `alternatives` (-1: nothing of it is reported); a full expert trace and hidden states take
// `record_bytes`.
absl::Status CheckAnswerSize(uint64_t logprobs, int32_t alternatives, uint64_t record_bytes = 0);

}  // namespace peerage
