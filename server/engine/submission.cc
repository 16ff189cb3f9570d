#include "server/engine/submission.h"

namespace peerage {

absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now) {
  if (now >= scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed before the request started");
  }
  if (now >= scheduling.queue_deadline) {
    return absl::DeadlineExceededError("the request did not start within its queue timeout");
  }
  return absl::OkStatus();
}

}  // namespace peerage
