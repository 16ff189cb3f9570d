#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"

namespace peerage::client {

// A call's result as an absl::Status of the same code. Each entry of the server's error details
// (grpc-status-details-bin) becomes a payload under its type URL.
absl::Status FromGrpcStatus(const grpc::Status& status);

// One line for people: code, message, field violations, and when to try again.
std::string DescribeError(const absl::Status& status);

}  // namespace peerage::client
