#pragma once

#include <grpcpp/server_context.h>

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/engine/clock.h"
#include "server/engine/request_origin.h"
#include "server/identity/authorizer.h"

namespace peerage {

// What a call says about itself outside its messages.
struct Call {
  RequestOrigin origin;
  absl::Time arrival;   // by the engine's clock
  absl::Time deadline;  // by the engine's clock; InfiniteFuture without one
  // Not OK: it was not let in, or its metadata are out of range, and it is refused for that.
  absl::Status status;
  // What it may ask for: everything where there is none.
  std::shared_ptr<const Visitor> visitor = nullptr;
  std::string host = {};  // Passage::host
};

// `x-request-id` (1 to 128 printable ASCII characters, at most once, else INVALID_ARGUMENT) or a
// fresh id. It is echoed in the initial metadata: to be read once, at the call's start.
absl::StatusOr<std::string> ReadRequestId(grpc::CallbackServerContext& context);

// Of a call whose messages say nothing of who it is: reads its request id as above. Why it is to be
// refused, or OK.
absl::Status BeginCall(grpc::CallbackServerContext& context);

// The request id that is echoed in a call's initial metadata; empty when none is.
std::string EchoedRequestId(const std::multimap<std::string, std::string>& sent);

// An origin of the trace that `traceparent` names, when it is given once and by its grammar.
RequestOrigin ReadTrace(const std::multimap<grpc::string_ref, grpc::string_ref>& received);

// Of a call that comes by another way than gRPC and says nothing of itself: a fresh id, no
// deadline.
Call NewCall(const Clock& clock, absl::string_view method);

// Who shares turns with whom: the principal, or, where nobody is known, all of a host.
std::string CallerOf(const Call& call);

// Why nothing is to be done for a call any more: it was cancelled (CANCELLED, or as
// engine/deadline.h says), its deadline has passed (DEADLINE_EXCEEDED), or its metadata are out of
// range.
absl::Status CheckWanted(const Call& call, bool cancelled, absl::Time now);

// All of a call of this method ("peerage.v1.InferenceService/Generate").
Call ReadCall(grpc::CallbackServerContext& context, const Clock& clock, absl::string_view method);

}  // namespace peerage
