#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "peerage/v1/experts.pb.h"
#include "peerage/v1/inference.pb.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// The cheap checks of a request: every range that the protos document, before anything is tokenised
// or allocated. NaN and infinity are outside every range. All violations come at once
// (FieldErrors); an unknown model is NOT_FOUND, since the other rules depend on the model.
//
// `prefix` leads to the request inside the message that carried it: "request." in a stream.
absl::Status Validate(const v1::GenerateRequest& request, const ServedModel& model,
                      absl::string_view prefix = "");
absl::Status Validate(const v1::GenerateStreamRequest& request, const ServedModel& model);
absl::Status Validate(const v1::ScoreRequest& request, const ServedModel& model,
                      absl::string_view prefix = "");
absl::Status Validate(const v1::TokenizeRequest& request, const ServedModel& model);
absl::Status Validate(const v1::DetokenizeRequest& request, const ServedModel& model);
absl::Status Validate(const v1::GetExpertUsageRequest& request, const ServedModel& model);
absl::Status Validate(const v1::WatchExpertSummaryRequest& request, const ServedModel& model);

}  // namespace peerage
