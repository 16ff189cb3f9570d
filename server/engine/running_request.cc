#include "server/engine/running_request.h"

#include "absl/strings/str_cat.h"

namespace peerage {

void RunningRequest::Begin(absl::Time now) {
  timeline_.scheduled = now;
  DeliverStart();
}

void RunningRequest::MarkToken(absl::Time now) {
  if (!timeline_.first_token) {
    tokens_.first_token_seconds.push_back(absl::ToDoubleSeconds(now - timeline_.arrival));
  }
  timeline_.MarkToken(now);
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

int64_t BlocksFor(int64_t positions, int32_t block_tokens) {
  return (positions + block_tokens - 1) / block_tokens;
}

absl::Status CheckFits(const RunningRequest& request, const EngineCapacity& capacity) {
  const RequestNeeds& needs = request.needs();
  if (needs.positions > capacity.context_length) {
    return absl::OutOfRangeError(absl::StrCat(request.DescribePositions(), " = ", needs.positions,
                                              " is more than the context length of ",
                                              capacity.context_length));
  }
  if (needs.sequences > capacity.max_sequences) {
    return absl::OutOfRangeError(absl::StrCat(needs.sequences,
                                              " candidates are more than the server's limit of ",
                                              capacity.max_sequences, " sequences"));
  }
  if (needs.slots > capacity.model.num_slots) {
    return absl::OutOfRangeError(absl::StrCat("the request needs ", needs.slots,
                                              " sequence slots, the model has ",
                                              capacity.model.num_slots));
  }
  if (needs.blocks > capacity.model.num_blocks) {
    return absl::OutOfRangeError(absl::StrCat(
        "the request needs ", needs.blocks, " KV blocks of ", capacity.model.block_tokens,
        " tokens, the KV cache has ", capacity.model.num_blocks));
  }
  return absl::OkStatus();
}

absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now) {
  if (now >= scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed before the request started");
  }
  if (now >= scheduling.queue_deadline) {
    return absl::DeadlineExceededError("the request did not start within its queue timeout");
  }
  return absl::OkStatus();
}

TokenLogprob LogprobOf(const RowOutput& row, size_t i) {
  const TokenScore& score = row.tokens[i];
  return {.token = score.token,
          .logprob = score.logprob,
          .rank = score.rank,
          .alternatives = {row.alternatives.begin(), row.alternatives.end()}};
}

}  // namespace peerage
