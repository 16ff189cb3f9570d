#pragma once

#include <google/rpc/status.pb.h>
#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace peerage::client {

// A call's result as an absl::Status of the same code. Each entry of the server's error details
// (grpc-status-details-bin) becomes a payload under its type URL.
absl::Status FromGrpcStatus(const grpc::Status& status);

// The same of an item's own status within a stream.
absl::Status FromRpcStatus(const google::rpc::Status& status);

// How long the server asks to wait before the call is made again; nothing when it does not.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

// One line for people, with the code in front. Fields that were refused are called by the options
// that set them, in place of the server's own message, which says the same. Where `server` is given
// and nothing of ours answered, the line says what to try; else what the server asks for.
std::string DescribeError(const absl::Status& status, const std::string& server = "");

}  // namespace peerage::client
