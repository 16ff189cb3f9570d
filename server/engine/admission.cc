#include "server/engine/admission.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace peerage {
namespace {

absl::Status CheckPositions(absl::string_view what, uint64_t positions,
                            const EngineCapacity& capacity) {
  if (positions <= capacity.context_length) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      what, " = ", positions, " is more than the context length of ", capacity.context_length));
}

}  // namespace

absl::Status CheckMayStart(const SchedulingParams& scheduling, absl::Time now) {
  if (now >= scheduling.deadline) {
    return absl::DeadlineExceededError("the deadline passed before the request started");
  }
  if (now >= scheduling.queue_deadline) {
    return absl::DeadlineExceededError("the request did not start within its queue timeout");
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const GenerateRequest& request, const EngineCapacity& capacity) {
  const uint64_t positions = request.prompt.size() + uint64_t{request.stopping.max_tokens};
  const std::string what = absl::StrCat("prompt of ", request.prompt.size(),
                                        " tokens + max_tokens of ", request.stopping.max_tokens);
  if (absl::Status status = CheckPositions(what, positions, capacity); !status.ok()) return status;
  if (static_cast<int64_t>(request.candidates) <= capacity.max_sequences) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(request.candidates,
                                            " candidates are more than the server's limit of ",
                                            capacity.max_sequences, " sequences"));
}

absl::Status CheckFits(const ScoreRequest& request, const EngineCapacity& capacity) {
  size_t longest = 0;
  for (const auto& continuation : request.continuations) {
    longest = std::max(longest, continuation.size());
  }
  const std::string what = absl::StrCat("context of ", request.context.size(),
                                        " tokens + longest continuation of ", longest);
  return CheckPositions(what, request.context.size() + longest, capacity);
}

absl::Status CheckFits(const RequestNeeds& needs, const EngineCapacity& capacity) {
  if (needs.blocks <= capacity.model.num_blocks) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(
      "the request needs ", needs.blocks, " KV blocks of ", capacity.model.block_tokens,
      " tokens, the KV cache has ", capacity.model.num_blocks));
}

}  // namespace peerage
