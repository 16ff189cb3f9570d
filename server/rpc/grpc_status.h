#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace peerage {

// The one place where our absl::Status becomes what clients see (google.rpc.Status, AIP-193):
//   * the message, cut to 1,024 bytes;
//   * the status's payloads (FieldErrors' BadRequest);
//   * ErrorInfo: an UPPER_SNAKE reason in the domain "peerage", the status's own (error_reason.h)
//     or that of its code;
//   * RetryInfo for UNAVAILABLE and for whatever comes with a retry delay (retry_delay.h): nothing
//     is wrong with such a request, it came at a bad time.

// Precondition: !status.ok().
google::rpc::Status ToRpcStatus(const absl::Status& status);

// The google.rpc.Status travels in `grpc-status-details-bin`. Where RetryInfo is given, clients
// that retry by themselves read the same delay from `grpc-retry-pushback-ms` (gRFC A6), which is
// added to `context`'s trailing metadata. OK gives OK.
grpc::Status ToGrpcStatus(const absl::Status& status, grpc::CallbackServerContext& context);

}  // namespace peerage
