#pragma once

#include <memory>
#include <variant>

#include "absl/time/time.h"
#include "server/engine/demand.h"
#include "server/engine/request.h"
#include "server/engine/response_sink.h"

namespace peerage {

// A request on its way from the door to the worker.
struct Submission {
  RequestHandle handle = 0;
  std::variant<GenerateRequest, ScoreRequest> request;
  std::shared_ptr<ResponseSink> sink;
  Demand demand;

  const SchedulingParams& scheduling() const {
    return std::visit([](const auto& r) -> const SchedulingParams& { return r.scheduling; },
                      request);
  }
};

// DEADLINE_EXCEEDED when a request that has not started may no longer start.
absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now);

}  // namespace peerage
