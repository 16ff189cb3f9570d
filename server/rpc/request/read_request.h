#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// What the engine will run of what a client wrote, or why not: the call is read, its message
// validated (validate.h) and converted, and its answer will fit (answer_size.h). `prefix` leads to
// the request inside its message, for error paths.
absl::StatusOr<GenerateRequest> ReadRequest(const v1::GenerateRequest& request,
                                            const ServedModel& model, const Call& call);
absl::StatusOr<GenerateRequest> ReadRequest(const v1::GenerateStreamRequest& request,
                                            const ServedModel& model, const Call& call);
absl::StatusOr<ScoreRequest> ReadRequest(const v1::ScoreRequest& request, const ServedModel& model,
                                         const Call& call, absl::string_view prefix = "");

// The conversion alone, with every default resolved: see the protos. Tokenises, so the cost is that
// of the texts.
// Precondition: Validate accepted the request.
// Errors: those of prompt.h; OUT_OF_RANGE for what the context length cannot hold.
absl::StatusOr<GenerateRequest> Convert(const v1::GenerateRequest& request,
                                        const ServedModel& model, const Call& call,
                                        absl::string_view prefix = "");
absl::StatusOr<ScoreRequest> Convert(const v1::ScoreRequest& request, const ServedModel& model,
                                     const Call& call, absl::string_view prefix = "");

}  // namespace peerage
