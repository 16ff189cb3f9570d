#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/bench/calls.h"
#include "client/bench/workload.h"
#include "client/credentials.h"

namespace peerage::client {

struct GrpcCallsOptions {
  std::string server;
  absl::Duration timeout = absl::InfiniteDuration();  // of each call
  int connections = 1;                                // that the calls take turns on
  bool keep_text = false;                             // that was generated
  Credentials credentials = {};
};

// Each call is one GenerateStream, or one Score, of the workload. They share a few threads of
// gRPC's, however many run. `workload` must outlive them.
std::unique_ptr<Calls> MakeGenerateCalls(const GrpcCallsOptions& options, const Workload& workload);
std::unique_ptr<Calls> MakeScoreCalls(const GrpcCallsOptions& options, const Workload& workload);

}  // namespace peerage::client
