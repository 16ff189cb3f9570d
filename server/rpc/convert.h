#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/rpc/call.h"
#include "server/rpc/served_model.h"

namespace peerage {

// Answers may take this many bytes: what gRPC clients accept unless they are told otherwise.
inline constexpr size_t kMaxResponseBytes = 4 << 20;

// OUT_OF_RANGE for an answer that might be larger. Each of `logprobs` reported tokens has
// `alternatives` (-1: nothing of it is reported); a full expert trace takes `trace_bytes`.
absl::Status CheckAnswerSize(uint64_t logprobs, int32_t alternatives, uint64_t trace_bytes = 0);

// From what a client wrote to what the engine runs, with every default resolved: see the protos.
// `prefix` leads to the request inside its message, for error paths. Tokenises, so the cost is
// that of the texts.
// Precondition: Validate accepted the request.
// Errors: those of prompt.h; OUT_OF_RANGE for what the context length cannot hold.
absl::StatusOr<GenerateRequest> Convert(const v1::GenerateRequest& request,
                                        const ServedModel& model, const Call& call,
                                        absl::string_view prefix = "");
absl::StatusOr<ScoreRequest> Convert(const v1::ScoreRequest& request, const ServedModel& model,
                                     const Call& call, absl::string_view prefix = "");

// The values that the engine was given, for the echo.
v1::ResolvedSampling Resolved(const GenerateRequest& request);

}  // namespace peerage
