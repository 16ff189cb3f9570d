#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/engine/request.h"
#include "server/rpc/request/call_metadata.h"
#include "server/rpc/request/served_model.h"

namespace peerage {

// What the engine will run of a v1.GenerateRequest that is written as JSON (the form that protobuf
// defines, field names as in the proto), or why not: as ReadRequest. INVALID_ARGUMENT also for what
// is no such message, unknown fields included; errors never quote it, as it holds a prompt.
absl::StatusOr<GenerateRequest> ReadJsonRequest(absl::string_view json, const ServedModel& model,
                                                const Call& call);

}  // namespace peerage
