#pragma once

#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/peerage_client.h"
#include "peerage/v1/inference.pb.h"

namespace peerage::client {

// How hard to try to go on with a stream that broke.
struct ResumeOptions {
  int retries = 5;  // of a stream that brings no new token in between; 0: never
  // Before the first of them, unless the server asks for another wait; then twice as long each.
  absl::Duration first_delay = absl::Milliseconds(250);
  // Told before each wait. May be null.
  std::function<void(const absl::Status& why, absl::Duration delay)> on_break = nullptr;
};

// Client::GenerateStream as one stream, whatever breaks below it: when the server or the connection
// is lost after the first message (UNAVAILABLE), the generation goes on where it was, at whatever
// server answers then, with the seed that was reported and the tokens that came. Nothing comes
// twice. The client's timeout counts for all of it together.
//
// Several candidates are not taken up again. FAILED_PRECONDITION when the server that would go on
// has other weights.
absl::Status GenerateUnbroken(Client& client, const v1::GenerateStreamRequest& request,
                              const ResumeOptions& options,
                              absl::FunctionRef<bool(const v1::GenerateStreamResponse&)> on_event);

}  // namespace peerage::client
