#include "server/engine/running_request.h"

namespace peerage {

void RunningRequest::Begin(absl::Time now) {
  timeline_.scheduled = now;
  DeliverStart();
}

void RunningRequest::UpdateParking(absl::Time now) {
  if (sink_->HasRoom()) {
    parked_since_.reset();
  } else if (!parked_since_) {
    parked_since_ = now;
  }
}

void RunningRequest::Fail(absl::Status status) {
  if (failure_.ok()) failure_ = std::move(status);
}

TokenLogprob LogprobOf(const RowOutput& row, size_t i) {
  const TokenScore& score = row.tokens[i];
  return {.token = score.token,
          .logprob = score.logprob,
          .rank = score.rank,
          .alternatives = {row.alternatives.begin(), row.alternatives.end()}};
}

}  // namespace peerage
