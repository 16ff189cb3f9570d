#include "server/rpc/request/answer_size.h"

#include <algorithm>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "server/rpc/request/limits.h"

namespace peerage {
namespace {

// Bytes of ids and scores of a full trace; 0 for the other levels.
uint64_t FullTraceBytes(ExpertTraceLevel level, uint64_t tokens,
                        absl::Span<const ExpertLayer> layers) {
  if (level != ExpertTraceLevel::kFull) return 0;
  uint64_t picks = 0;  // of one token
  for (const ExpertLayer& layer : layers) picks += layer.picks_per_token();
  return tokens * picks * (sizeof(uint32_t) + sizeof(float));
}

// What a control takes on the wire at most.
uint64_t EchoBytes(const ExpertControl& control) {
  constexpr uint64_t kLayer = 64, kMaskedId = 5, kBias = 14, kPick = 8;  // with tags and lengths
  uint64_t bytes = 0;
  for (const LayerControl& layer : control.layers) {
    bytes += kLayer + layer.masked_ids.size() * kMaskedId + layer.biases.size() * kBias +
             layer.forced.ids.size() * kPick;
  }
  return bytes;
}

// What the trace takes of an answer, or why there is none.
template <typename Request>
absl::StatusOr<uint64_t> CheckTrace(const Request& request, const ServedModel& model) {
  const TraceLimits& limits = model.trace_limits;
  if (request.trace > limits.level) {
    return absl::FailedPreconditionError(
        absl::StrCat("expert_trace: the server runs with --expert-trace=",
                     ChoiceName(kExpertTraceLevels, limits.level)));
  }
  const uint64_t bytes =
      FullTraceBytes(request.trace, ComputedTokens(request), model.description.expert_layers);
  if (bytes > limits.max_bytes) {
    return absl::OutOfRangeError(absl::StrCat("expert_trace: the picks of all tokens could take ",
                                              bytes, " bytes, the server's limit is ",
                                              limits.max_bytes, " (--max-trace-mib)"));
  }
  if (request.trace == ExpertTraceLevel::kNone) return bytes;
  const uint64_t with_echo = bytes + EchoBytes(request.expert_control);
  if (with_echo > kMaxResponseBytes) {
    return absl::OutOfRangeError(
        absl::StrCat("expert_trace: picks and the expert_control that is answered with them could "
                     "take ",
                     with_echo, " bytes, the limit of an answer is ", kMaxResponseBytes));
  }
  return with_echo;
}

}  // namespace

uint64_t ComputedTokens(const GenerateRequest& request) {
  return request.prompt.size() + uint64_t{request.candidates} * (request.stopping.max_tokens - 1);
}

uint64_t ComputedTokens(const ScoreRequest& request) {
  uint64_t tokens = request.context.size();
  for (const std::vector<TokenId>& continuation : request.continuations) {
    tokens += continuation.size() - 1;
  }
  return tokens;
}

absl::Status CheckAnswer(const GenerateRequest& request, const ServedModel& model) {
  ASSIGN_OR_RETURN(const uint64_t trace_bytes, CheckTrace(request, model));
  const int32_t prompt_alternatives =
      request.prompt_logprobs ? std::max(request.alternatives, 0) : -1;
  RETURN_IF_ERROR(CheckAnswerSize(request.prompt.size(), prompt_alternatives, trace_bytes));
  return CheckAnswerSize(uint64_t{request.candidates} * request.stopping.max_tokens,
                         request.alternatives, trace_bytes);
}

absl::Status CheckAnswer(const ScoreRequest& request, const ServedModel& model) {
  ASSIGN_OR_RETURN(const uint64_t trace_bytes, CheckTrace(request, model));
  uint64_t scored = 0;
  for (const std::vector<TokenId>& tokens : request.continuations) scored += tokens.size();
  return CheckAnswerSize(scored, request.alternatives, trace_bytes);
}

absl::Status CheckStreamedAnswer(const GenerateRequest& request, const ServedModel& model) {
  return CheckTrace(request, model).status();
}

absl::Status CheckAnswerSize(uint64_t logprobs, int32_t alternatives, uint64_t trace_bytes) {
  if (alternatives < 0) return absl::OkStatus();
  const uint64_t room = kMaxResponseBytes - std::min(kMaxResponseBytes, trace_bytes);
  if (logprobs <= room / LogprobBytes(static_cast<uint32_t>(alternatives))) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(logprobs, " log-probabilities with ", alternatives,
                                            " alternatives each could take more than ", room,
                                            " bytes, the limit of an answer",
                                            trace_bytes > 0 ? " beside its expert trace" : ""));
}

}  // namespace peerage
