#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/inference.pb.h"
#include "server/engine/request.h"
#include "server/rpc/backend.h"
#include "server/rpc/call.h"

namespace peerage {

// Validate and Convert in one: what the engine will run, or why not. The observer is told of what
// is refused here, so that its counts by code are complete (the engine tells of the rest).
absl::StatusOr<GenerateRequest> Prepare(const v1::GenerateRequest& request, const Backend& backend,
                                        const absl::StatusOr<Call>& call);
absl::StatusOr<GenerateRequest> Prepare(const v1::GenerateStreamRequest& request,
                                        const Backend& backend, const absl::StatusOr<Call>& call);
absl::StatusOr<ScoreRequest> Prepare(const v1::ScoreRequest& request, const Backend& backend,
                                     const absl::StatusOr<Call>& call,
                                     absl::string_view prefix = "");

}  // namespace peerage
