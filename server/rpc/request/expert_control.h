#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/experts/expert_control.h"
#include "model/experts/expert_usage.h"
#include "peerage/v1/experts.pb.h"
#include "server/rpc/request/field_errors.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// Adds what experts.proto does not allow in a control of a model with these layers. `path` leads to
// the control.
void CheckExpertControl(const v1::ExpertControl& control, absl::Span<const ExpertLayer> layers,
                        absl::string_view path, FieldErrors& errors);

// What the engine is to ask of the model's routers; nothing for no layers. `tokens` is how many of
// the request's tokens may be forced, `prefix` leads to the request in error paths.
// Precondition: CheckExpertControl accepted it.
// Errors: UNIMPLEMENTED on a device that cannot do it; OUT_OF_RANGE for more forced picks than a
// trace may have (TraceLimits); INVALID_ARGUMENT for tokens that the request does not have.
absl::StatusOr<ExpertControl> ConvertExpertControl(const v1::ExpertControl& control,
                                                   const ServedModel& model, uint64_t tokens,
                                                   absl::string_view prefix);

}  // namespace peerage
