#pragma once

#include <grpcpp/server_context.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"

namespace peerage {

// What a call says about itself outside its messages.
struct Call {
  std::string request_id;
  absl::Time arrival;   // by the engine's clock
  absl::Time deadline;  // by the engine's clock; InfiniteFuture without one
};

// `x-request-id` (1 to 128 printable ASCII characters, at most once, else INVALID_ARGUMENT) or a
// fresh id. It is echoed in the initial metadata: to be read once, at the call's start.
absl::StatusOr<std::string> ReadRequestId(grpc::CallbackServerContext& context);

// The request id with the deadline.
absl::StatusOr<Call> ReadCall(grpc::CallbackServerContext& context, const Clock& clock);

}  // namespace peerage
